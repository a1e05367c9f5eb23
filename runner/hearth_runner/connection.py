"""One stream connection to the node: frames in, bytes out, never blocking on a peer that does not read."""
import json
import socket

from . import errors, wire

_RECEIVE_BYTES = 256 * 1024
_buffer = bytearray(_RECEIVE_BYTES)  # one for all connections: bytes are copied out at once
_view = memoryview(_buffer)


class Connection:
    def __init__(self, peer):
        peer.setblocking(False)
        self.peer = peer
        self.fd = peer.fileno()
        self.open = True
        self.greeted = False
        self.unsent = []  # what the socket did not take
        self._decoder = wire.Decoder()
        self._receive_into = peer.recv_into
        self._send = peer.send

    def receive(self):
        """Frames that have arrived. Closes itself at the end of the stream and on nonsense."""
        try:
            size = self._receive_into(_buffer)
            if size:
                return self._decoder.feed(bytes(_view[:size]))
        except (BlockingIOError, InterruptedError):
            return ()
        except wire.ProtocolError as error:
            errors.log("closing a connection: %s" % error)
        except OSError:
            pass
        self.close()
        return ()

    def send(self, data):
        """Takes all of `data`; what does not fit the socket now is sent by flush(). A closed connection drops it: results
        are kept elsewhere."""
        if not self.open:
            return
        if self.unsent:
            self.unsent.append(data)
            return
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # What the peer has sent before it went may still lie in the socket: reading finds the end.
            return
        if sent < len(data):
            self.unsent.append(data[sent:])

    def flush(self):
        """Sends what waits; call when the socket takes bytes again."""
        waiting, self.unsent = b"".join(self.unsent), []
        self.send(waiting)

    def greet(self, hello):
        """Takes the peer's HELLO; False when no version is common (and the connection is closed)."""
        theirs = hello.get("versions")
        if (isinstance(theirs, list) and len(theirs) == 2 and all(isinstance(v, int) for v in theirs)
                and wire.agree_version(wire.VERSIONS, theirs) is not None):
            self.greeted = True
            return True
        errors.log("no common protocol version: this runner speaks %s, the node %s"
                   % (json.dumps(wire.VERSIONS), json.dumps(theirs)))
        self.close()
        return False

    def close(self):
        if self.open:
            self.open = False
            self.unsent = []
            self.peer.close()


def listen_on(fd):
    """The node's listening socket, inherited under this number."""
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    listener.set_inheritable(False)  # not for programs the user's code starts
    return listener


def accept(listener):
    """A new connection, or None."""
    try:
        return Connection(listener.accept()[0])
    except OSError:
        return None

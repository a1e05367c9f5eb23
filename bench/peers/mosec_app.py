import os

import digits
from mosec import Server, Worker

BATCH = os.environ["BENCH_BATCH"] == "1"


class Digits(Worker):
    def __init__(self):
        self.model = digits.load(os.environ["BENCH_CASE"])

    def forward(self, data):
        if BATCH:
            return [{"data": r} for r in self.model([d["data"] for d in data])]
        return {"data": self.model([data["data"]])[0]}


if __name__ == "__main__":
    server = Server()
    options = {"max_batch_size": 32, "max_wait_time": 2} if BATCH else {}
    server.append_worker(Digits, num=2, **options)
    server.run()

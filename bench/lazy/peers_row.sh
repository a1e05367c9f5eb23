#!/bin/bash
# Hearth as a row of the harness that peers.py drives: reset, cold ARGS.., again ARGS.., stop. What is a row's own is done
# with the harness's functions, as its other rows do.
. "$BENCH_HARNESS/rows/lib.sh"
hearth() { "$LAZY/bin/hearth" "$@" --data-dir "$BENCH_DATA" > /dev/null; }
case $1 in
reset)
  hearth down 2> /dev/null || true
  clear_state; rm -rf "$BENCH_DATA/imagefs"
  hearth up --listen 127.0.0.1:0 --store "$BENCH_STORE" --detach ;;
cold | again)
  image=$(mktemp -d "$S/image-XXXX")
  hearth image mount "$BENCH_IMAGE" "$image" --profile "$(basename "${!#}" .py)"
  overlay "$image"; bundle "$S/m" "${@:2}"; run_bundle ;;
stop) clear_state; hearth down ;;
esac

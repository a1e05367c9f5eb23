# Builds Hearth, starts it in the background, deploys three real models and calls each with real input.
# Run again: what runs is kept, what is deployed and unchanged is not deployed again.
set -euo pipefail
./dev build
export XDG_CONFIG_HOME=$PWD/.demo/config   # the demo's context, apart from a real server's
hearth=$PWD/build/hearth
data=$PWD/.demo/data
mkdir -p .demo
say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }

say "starting hearth up (data in .demo/data)"
listen=${DEMO_LISTEN:-127.0.0.1:8321}
"$hearth" up --data-dir "$data" --listen "$listen" --detach --json > .demo/up.json || {
  echo "demo: if the port is taken, choose another: DEMO_LISTEN=127.0.0.1:0 ./dev demo" >&2
  exit 1
}
read_json() { python3 -c 'import json,sys; print(json.loads(open(sys.argv[1]).read().strip().splitlines()[-1])[sys.argv[2]])' "$@"; }
HEARTH_URL=$(read_json .demo/up.json url)
HEARTH_API_KEY=$(read_json .demo/up.json key)
export HEARTH_URL HEARTH_API_KEY

deployed=$("$hearth" ls --json)
for model in digits diabetes sentences; do
  now=$(find "examples/$model" -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
  if [ "$(cat ".demo/$model.deployed" 2> /dev/null)" = "$now" ] && grep -q "\"model\":\"$model\"" <<< "$deployed"; then
    say "$model: deployed already"
  else
    say "$model: deploying examples/$model (the first deployment builds the base image: a few minutes)"
    "$hearth" deploy "examples/$model"
    echo "$now" > ".demo/$model.deployed"
  fi
done

for model in digits diabetes sentences; do
  say "hearth call $model --file examples/$model/request.json"
  head -c 300 "examples/$model/request.json"; echo
  "$hearth" call "$model" --file "examples/$model/request.json" | cut -c1-400
done

cat <<TEXT

Endpoint  $HEARTH_URL/v1/MODEL/latest
Key       $HEARTH_API_KEY
Try       curl -H "Authorization: Bearer $HEARTH_API_KEY" -H 'Content-Type: application/json' \\
            -d @examples/digits/request.json $HEARTH_URL/v1/digits/latest
Look      export HEARTH_URL=$HEARTH_URL HEARTH_API_KEY=$HEARTH_API_KEY; build/hearth ls; build/hearth logs digits
Stop      build/hearth down --data-dir .demo/data
TEXT

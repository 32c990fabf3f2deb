#!/bin/sh
# Evaluates the canary identity through Flagsmith once. Let cron run it every minute; fct_canary_calls has the results.
#   * * * * * FLAGSMITH_ENVIRONMENT_KEY=… /opt/flagsmith-warehouse/deploy/canary.sh
# If you host Flagsmith yourself, set FLAGSMITH_API to its address. List warehouse-canary in test_identities.csv,
# so that no other mart counts it. The trait is transient: Flagsmith does not store it.
set -eu
: "${FLAGSMITH_ENVIRONMENT_KEY:?is not set: the client-side key of the environment in Flagsmith}"
exec curl --silent --show-error --fail --max-time 20 --output /dev/null \
    --header "X-Environment-Key: $FLAGSMITH_ENVIRONMENT_KEY" --header 'Content-Type: application/json' \
    --data "{\"identifier\": \"${CANARY_IDENTITY:-warehouse-canary}\", \"traits\": [{\"trait_key\": \"canary_sent_at\", \"trait_value\": $(date +%s), \"transient\": true}]}" \
    "${FLAGSMITH_API:-https://edge.api.flagsmith.com/api/v1}/identities/"

#!/bin/sh
# Takes the place of `python -m STAGE` in benchmarks/batch.py: copies small, valid outputs of that stage,
# or rejects a video whose name says so. MATERIAL is a folder of outputs by module.
set -e
module=$2
for word; do
    case $word in
    --template=*) template=${word#*=} name=${word##*/} ;;
    --character=*) character=${word#*=} ;;
    --output=*) output=${word#*=} ;;
    esac
done
case $name in
*" bad for $module")
    echo "REJECTED: $name: no good for $module; leave it out" >&2
    exit 3
    ;;
esac
case $module in
mimo.synthesis)
    cp "$MATERIAL/$module/result.mp4" "$output"
    cp "$MATERIAL/$module/result.json" "${output%.mp4}.json"
    ;;
video_decomp.character) cp "$MATERIAL/$module/"* "$character" ;;
*) cp -R "$MATERIAL/$module/." "$template" ;;
esac

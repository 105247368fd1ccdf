#!/bin/sh
# Stands in for podman and for docker: a link of either name in the directory bin/ runs this. What there is to know lies in
# files above that directory: `present`, `pullable` and `slow` name images, `running` the container, one a line.
# Every call is added to `calls`. What `run` was given and found itself to be is kept in `run/`.
name=${0##*/}
state=${0%/*}/..
export PATH=/usr/bin:/bin
cd "$state" || exit 9
echo "$name $*" >>calls
for last; do :; done
has() { [ -e "$1" ] && grep -qxF -e "$last" "$1"; }

case "$1" in
image) has present ;;
container) has running ;;
pull)
    # Not `sleep` alone: whoever kills this process must not leave it behind.
    if has slow; then exec sleep 100000; fi
    if has pullable; then exit 0; fi
    echo "Trying to pull $last..." >&2
    echo "Error: initializing source docker://$last: reading manifest: manifest unknown" >&2
    exit 125
    ;;
stop)
    if [ -e stuck ]; then echo "Error: it does not want to" >&2 && exit 125; fi
    # docker's own words; podman is told to ignore that there is none.
    if ! has running && [ "$2" != --ignore ]; then echo "Error: No such container: $last" >&2 && exit 1; fi
    ;;
rm)
    if [ -e stuck ]; then echo "Error: device busy" >&2 && exit 125; fi
    if [ -e vanishing ]; then rm "bin/$name"; fi
    rm -f running
    ;;
run)
    mkdir -p run
    printf '%s\0' "$@" >run/arguments
    cat /proc/$$/environ >run/environment
    # By the shell itself: while it starts a program, it holds signals back.
    while IFS= read -r line; do echo "$line"; done </proc/$$/status >run/status
    for number in /proc/$$/fd/*; do echo "${number##*/}"; done >run/descriptors
    echo "the kubelet's output"
    echo "the kubelet's log" >&2
    echo kubelet >running
    if [ -e exit-code ]; then exit "$(cat exit-code)"; fi
    # As podman passes a signal on and ends as its container does. In short steps, so that nothing outlives a kill -9.
    trap 'echo TERM >run/ended; exit 143' TERM
    echo $$ >run/pid
    while :; do sleep 0.02; done
    ;;
*) exit 8 ;;
esac

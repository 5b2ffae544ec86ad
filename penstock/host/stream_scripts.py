"""What runs on the hosts during a stream: three small scripts, constant; all data reaches them as arguments.

Each end is a process group of its own beside a watcher, which kills the group when its lifeline breaks:

- The source's lifeline is the standard input: a byte every few seconds, by whoever started it. It breaks at the end of
  file (that process died, or closed it) and when no byte came for `SILENCE_S` (a network that swallows everything).
- The target's standard input is the data. Its lifeline is a lock, which the guard, a command of its own on the target,
  holds for as long as the guard's own standard input lives. So a receive whose source lost its power ends, too,
  although nobody ever closes its connection.
"""

from __future__ import annotations

from collections.abc import Sequence

MARK = "penstock-end"
BEAT_S = 5.0
SILENCE_S = 30

# $1 the program of the group, the others its arguments.
# Nobody may die of a word to a reader that is gone before the rest is ended: so all ignore SIGPIPE, and see an error.
_WATCH = f"""trap '' PIPE
run=$1
shift
exec 3<&0 </dev/null
setsid sh -c "$run" penstock-run "$@" 3<&- &
job=$!
(
    exec >/dev/null 2>&1
    while [ -n "$(timeout {SILENCE_S} head -c 1 <&3)" ]; do :; done
    kill -s TERM -- "-$job" || kill -s TERM "$job" # dash knows no `kill -TERM --`
    left=20
    while [ "$left" -gt 0 ] && kill -s 0 -- "-$job"; do
        sleep 0.1
        left=$((left - 1))
    done
    kill -s KILL -- "-$job"
) &
watch=$!
exec 3<&-
wait "$job" 2>/dev/null
kill "$watch" 2>/dev/null
exit 0
"""

# $1 $2 $3: how many of the words that follow are the source, what stands between, and the sink (those two may be 0).
# Words are picked by rotating the positional parameters, so none of them is ever program text. The source's stderr and
# end go to stderr; the sink's output, stderr and end to stdout, which without a sink is the stream.
# The source itself outlives the rest by its last words: zfs-fuse's `zfs send -I` holds the snapshot it starts from, and
# killed it would do so until the pool is imported anew. So it ends because nobody reads, and is killed only if not.
_RUN = f"""a=$1 b=$2 c=$3
shift 3
words() {{
    skip=$1 take=$2
    shift 2
    shift "$skip"
    rest=$(($# - take))
    while [ "$take" -gt 0 ]; do
        set -- "$@" "$1"
        shift
        take=$((take - 1))
    done
    shift "$rest"
    exec "$@"
}}
trap : TERM
first() {{
    trap : TERM
    (trap '' TERM; words 0 "$a" "$@")
    printf '\\n{MARK} source %s\\n' "$?" >&2
}}
between() {{ words "$a" "$b" "$@"; }}
last() {{
    (words "$((a + b))" "$c" "$@") 2>&1
    printf '\\n{MARK} sink %s\\n' "$?"
}}
if [ "$b" = 0 ] && [ "$c" = 0 ]; then first "$@"
elif [ "$c" = 0 ]; then first "$@" | between "$@"
elif [ "$b" = 0 ]; then first "$@" | last "$@"
else first "$@" | between "$@" | last "$@"
fi
"""

# $1 the guard's lock, the others the command that reads the stream.
_RECEIVE = f"""lock=$1
shift
if ! [ -e "$lock" ]; then
    echo "the guard of this stream is gone" >&2
    exit 1
fi
exec 3<&0 </dev/null
setsid "$@" <&3 3<&- &
job=$!
exec 3<&-
flock -s "$lock" sh -c 'kill -s KILL -- "-$1"' sh "$job" >/dev/null 2>&1 &
watch=$!
wait "$job"
code=$?
kill "$watch" 2>/dev/null
printf '\\n{MARK} target %s\\n' "$code" >&2
exit 0
"""

_GUARD = f"""lock=$(mktemp "${{TMPDIR:-/tmp}}/penstock-stream-XXXXXXXX") || exit
trap 'rm -f -- "$lock"' EXIT
exec 9>>"$lock"
flock 9
printf '%s\\n' "$lock"
while [ -n "$(timeout {SILENCE_S} head -c 1 9>&-)" ]; do :; done
"""

# What there is to slow a stream down and to count it.
WHICH = 'for name in pv mbuffer; do command -v "$name"; done; :'


def source(words: Sequence[str], between: Sequence[str], sink: Sequence[str]) -> tuple[str, ...]:
    """The source's end: standard input is its lifeline; without a `sink` standard output is the stream."""
    counts = (str(len(part)) for part in (words, between, sink))
    return ("sh", "-c", _WATCH, "penstock-stream", _RUN, *counts, *words, *between, *sink)


def receive(lock: str, words: Sequence[str]) -> tuple[str, ...]:
    """The target's end: standard input is the stream, `lock` (from the `guard`) its lifeline."""
    return ("sh", "-c", _RECEIVE, "penstock-receive", lock, *words)


def guard() -> tuple[str, ...]:
    """Holds a lock while its standard input lives; its first line of output is the lock's path."""
    return ("sh", "-c", _GUARD, "penstock-guard")


def ends(text: bytes) -> tuple[dict[str, int], bytes]:
    """The exit codes by end (``source``, ``sink``, ``target``), and the text without their marks."""
    codes: dict[str, int] = {}
    rest = bytearray()
    for line in text.split(b"\n"):
        words = line.decode(errors="backslashreplace").split(" ")
        if len(words) == 3 and words[0] == MARK and words[2].isdecimal():
            codes[words[1]] = int(words[2])
            del rest[-1:]  # the newline that the mark begins with, in case what is before it had none
        else:
            rest += line + b"\n"
    return codes, bytes(rest).removesuffix(b"\n")

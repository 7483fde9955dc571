#!/usr/bin/busybox sh
# One HTTP request on standard input, its answer on standard output: what examples/bench answers on port 9000, by fio.
read -r _ target _
while read -r line && [ "$line" != "$(printf '\r')" ]; do :; done
exec 2>&1

answer() { # its status, type and perhaps length; its content is on standard input
    printf 'HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n' "$1" "$2"
    printf "${3:+Content-Length: $3\\r\\n}\\r\\n"
    cat
}

op= bs= qd= secs= bytes=
IFS='?&'
for word in $target; do
    case $word in op=* | bs=* | qd=* | secs=* | bytes=*) eval "${word%%=*}=\${word#*=}" ;; esac
done
unset IFS

case $target in
/blk*)
    # As little work of its own as fio can do: a processor time of this guest should be Linux's, not fio's. It submits and
    # reaps in batches, registers file and buffers once, and neither times single requests nor remembers where it was.
    # Of its report for programs: KiB, rate and milliseconds of reads, then those of writes.
    fio --name=bench --filename=/dev/xvda --direct=1 --ioengine=io_uring --thread --time_based \
        --iodepth_batch_submit="$qd" --iodepth_batch_complete_max="$qd" --registerfiles --fixedbufs --gtod_reduce=1 \
        --norandommap --rw="$op" --bs="$bs" --iodepth="$qd" --runtime="$secs" --output-format=terse --terse-version=3 |
        awk -F';' -v bs="$bs" '{
            kib = $6 + $47; ms = $9 > $50 ? $9 : $50
            printf "{\"ops\":%d,\"secs\":%.3f,\"iops\":%.1f,\"MiBps\":%.2f}\n",
                kib * 1024 / bs, ms / 1000, kib * 1024 / bs / ms * 1000, kib / 1024 / ms * 1000
        }' | answer '200 OK' application/json
    ;;
/disk*)
    dd if=/dev/xvda bs=1M count="$((bytes >> 20))" iflag=direct 2>/dev/null |
        answer '200 OK' application/octet-stream "$bytes"
    ;;
*) echo 'Here are /blk and /disk.' | answer '404 Not Found' text/plain ;;
esac

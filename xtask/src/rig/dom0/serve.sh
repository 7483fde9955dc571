#!/bin/bash
# One connection of the control channel: a token, what is wanted, a script's length in bytes, the script.
IFS= read -r token && IFS= read -r wanted && IFS= read -r length || exit
[ "$token" = "$(</share/token)" ] || exit
LC_ALL=C IFS= read -r -N "$length" script
cd /share || exit
case $wanted in
exec) # the output, then a line with the exit status
    bash -c "$script" </dev/null 2>&1
    printf '\n%d\n' $?
    ;;
shell)
    export script
    exec socat - EXEC:/usr/lib/xenlet/shell,pty,stderr,setsid,ctty,sane
    ;;
esac

# The processor time of all domains, as Xen accounts for it: `cputime.py MS…` prints an empty line when it is ready, reads
# one, and then prints a line after each pause of MS milliseconds, of the clock's nanoseconds and, for each domain,
# `DOMAIN:NANOSECONDS`.
import sys
import time
from xen.lowlevel.xc import xc

xen = xc()
print(flush=True)
sys.stdin.readline()
for pause in sys.argv[1:]:
    time.sleep(int(pause) / 1000)
    now = time.time_ns()
    domains = xen.domain_getinfo()
    print(now, *(f"{domain['domid']}:{domain['cpu_time']}" for domain in domains))

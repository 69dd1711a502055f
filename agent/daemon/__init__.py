# SPDX-License-Identifier: BSD-2-Clause
"""The daemon behind serve.py: one loop that reads samples, decides, and writes leased windows (docs/serve.md).

options, sources, models   the command line; where subflows come from; policies that are ready to serve
service                    the loop
connections, status        goodput and RTT of each connection; a line of them for people
metrics, exposition        what is counted; the same over HTTP
recorder, recording        decisions into a file; the file's format and its reader
logs, notify, blas         structured lines; systemd's protocol; numpy on one thread
"""

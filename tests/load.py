"""load.py WORK URL KEY JSON [THREADS [FRESH]]: asks for credentials until WORK/out/stop is there.

THREADS clients (4), of which the first FRESH (1) connect anew for each request. Prints, one a line,
how often each outcome came: "COUNT 201", or COUNT and what came instead. While it runs WORK/out/asked
has as many octets as there were outcomes.
"""
import collections
import http.client
import os
import ssl
import sys
import threading

work, url, key, body = sys.argv[1:5]
threads, fresh = (int(a) for a in (sys.argv[5:] + ["4", "1"][len(sys.argv) - 5:]))
port = int(url.rsplit(":", 1)[1])
seen, lock = collections.Counter(), threading.Lock()
asked = open(work + "/out/asked", "wb", buffering=0)


def connect():
    context = ssl.create_default_context(cafile=work + "/pki/ca.pem")
    context.load_cert_chain(work + "/pki/edge.pem", work + "/pki/edge.key")
    return http.client.HTTPSConnection("localhost", port, context=context, timeout=60)


def load(anew):
    connection = connect()
    while not os.path.exists(work + "/out/stop"):
        if anew:
            connection.close()
            connection = connect()
        try:
            connection.request("POST", "/v1/keys/%s/credentials" % key, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            what = str(response.status) if response.status == 201 else "%d %s" % (response.status, answer.decode())
        except Exception as e:
            what = repr(e)
            connection.close()
            connection = connect()
        with lock:
            seen[what] += 1
            asked.write(b".")
    connection.close()


running = [threading.Thread(target=load, args=(i < fresh,)) for i in range(threads)]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
for what, count in seen.items():
    print(count, what)

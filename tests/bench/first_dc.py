"""Waits for the first DC of a service that is just starting and prints the seconds since SINCE, a
CLOCK_MONOTONIC time. usage: first_dc.py PORT PKI-FOLDER BODY SINCE"""

import http.client
import ssl
import sys
import time


def main():
    port, pki, body, since = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
    tls = ssl.create_default_context(cafile=f"{pki}/ca.pem")
    tls.load_cert_chain(f"{pki}/edge.pem", f"{pki}/edge.key")
    while time.monotonic() < since + 60:
        try:
            c = http.client.HTTPSConnection("localhost", port, timeout=10, context=tls)
            c.request("POST", "/v1/keys/www/credentials", body, {"Content-Type": "application/json"})
            if c.getresponse().status == 201:
                print(f"{time.monotonic() - since:.4f}")
                return
        except OSError:
            pass
        time.sleep(0.005)
    sys.exit("no DC within 60 s")


main()

"""A client of the running service of an end-to-end test; WORK and URL are the test's."""
import http.client
import json
import os
import ssl
import sys

WORK, URL = os.environ["WORK"], os.environ["URL"]


def fail(text):
    sys.exit("FAIL: " + text)


def expect(what, got, wanted):
    if got != wanted:
        fail("%s: %r, not %r" % (what, got, wanted))


class Client:
    def __init__(self, name):
        context = ssl.create_default_context(cafile=WORK + "/pki/ca.pem")
        context.load_cert_chain("%s/pki/%s.pem" % (WORK, name), "%s/pki/%s.key" % (WORK, name))
        self.connection = http.client.HTTPSConnection("127.0.0.1", int(URL.rsplit(":", 1)[1]),
                                                      context=context, timeout=30)

    def ask(self, method, target, body=None, **headers):
        """(response, body); a header field X_Y is X-Y."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            fields["Content-Type"] = "application/json"
        self.connection.request(method, target, None if body is None else json.dumps(body), fields)
        response = self.connection.getresponse()
        octets = response.read()
        return response, json.loads(octets) if response.getheader("Content-Type").endswith("json") else octets

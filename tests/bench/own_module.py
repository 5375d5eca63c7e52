"""Makes of the bench's configuration one for the user's own PKCS#11 module and key: `make bench
MODULE=... URI=... PIN_FILE=...`. usage: own_module.py CONF MODULE URI PIN-FILE, and MODULE_ARGS, MODULE_ENV, ACCEPT
in the environment"""

import os
import re
import sys

OBJECT = ("object", "id", "type")


def main():
    name, module, uri, pin = sys.argv[1:]
    parts = [a for a in uri.removeprefix("pkcs11:").split("?")[0].split(";") if a]
    token = ";".join(a for a in parts if a.split("=")[0] not in OBJECT)
    key = ";".join(a for a in parts if a.split("=")[0] in ("object", "id"))
    with open(name, encoding="utf-8") as f:
        conf = f.read()
    conf = re.sub(r'module = ".*"', f'module = "{module}"', conf)
    conf = re.sub(r'uri = "pkcs11:token=.*"', f'uri = "pkcs11:{token}"', conf)
    conf = re.sub(r'pin = ".*"', f'pin = "file:{pin}"', conf)
    conf = re.sub(r'uri = "pkcs11:object=www"', f'uri = "pkcs11:{key}"', conf)
    more = ""
    if os.environ.get("MODULE_ARGS"):
        more += f'module_args = "{os.environ["MODULE_ARGS"]}"\n'
    if os.environ.get("MODULE_ENV"):
        more += "environment = { %s }\n" % ", ".join(f'"{e}"' for e in os.environ["MODULE_ENV"].split(";"))
    conf = re.sub(r"environment = .*\n", lambda m: more, conf)
    if os.environ.get("ACCEPT"):
        conf = conf.replace("\tissuer_ca =", f"\taccept_weak_key = {{ {os.environ['ACCEPT']} }}\n\tissuer_ca =")
    conf = re.sub(r"key www384 \{.*?\n\}\n", "", conf, flags=re.S)
    conf = conf.replace("www, www384", "www")
    with open(name, "w", encoding="utf-8") as f:
        f.write(conf)


main()

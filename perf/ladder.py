"""The cost ladder: what identity, policy and the trail add to a request, one after the other.

Every step is asked with the same fields, a key and a token, whether it reads them or not.
"""

import base64
import hashlib
import json
import os
import subprocess
import tempfile
import time

import peers

# Who is known by what, how many rules are in the way, what a trail is told, and what a hook is asked.
STEPS = {
    "caio-key": ("keys", 0, None, None),
    "caio-jwt": ("corp", 0, None, None),
    "caio-policy": ("corp", 1000, None, None),
    "caio-audited": ("corp", 1000, "", None),
    "caio-hook-kept": ("corp", 1000, "", "kept"),
    "caio-hook": ("corp", 1000, "", "asked"),
    "caio-jwt-fresh": ("corp", 0, None, None),
}
# The step whose tokens nobody remembers: so many take turns that a worker, which remembers 8192 in
# sets of eight, has forgotten each before it comes again (2 of 100 are remembered by chance).
FRESH = "caio-jwt-fresh"
FRESH_TOKENS = 32_768
API_KEY = "caio_" + "7" * 64
ISSUER = "https://id.rig.test"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise OSError(f"openssl {arguments[0]} failed:\n{done.stderr.decode(errors='replace')}")
    return done.stdout


class Issuer:
    """A key of Ed25519 (RFC 8037), and tokens that hold as long as a run may take."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            key, signed = os.path.join(folder, "key.pem"), os.path.join(folder, "signed")
            openssl("genpkey", "-algorithm", "ed25519", "-out", key)
            # The last 32 bytes of the keys' DER are the keys themselves.
            public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-32:]
            self.secret = openssl("pkey", "-in", key, "-outform", "DER")[-32:]
            text = self.unsigned(0)
            with open(signed, "w") as out:
                out.write(text)
            signature = openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", signed)
        self.token = f"{text}.{encoded(signature)}"
        self.keys = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
                               "x": encoded(public)}]}

    @staticmethod
    def unsigned(number):
        claims = {"iss": ISSUER, "aud": "rig", "sub": "ann", "jti": f"{number:08}",
                  "exp": int(time.time()) + 86_400}
        head = {"alg": "EdDSA", "kid": "one"}
        return ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))

    def tokens(self, count):
        """Many of them, by a library: a process for each would take minutes."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        key = Ed25519PrivateKey.from_private_bytes(self.secret)
        texts = map(self.unsigned, range(count))
        return [f"{text}.{encoded(key.sign(text.encode()))}" for text in texts]


ISSUERS = []


def issuer():
    """The one issuer of a run, made when it is first asked for."""
    if not ISSUERS:
        ISSUERS.append(Issuer())
    return ISSUERS[0]


def fields():
    """What every request of the ladder shows."""
    return [f"X-Api-Key: {API_KEY}", f"Authorization: Bearer {issuer().token}"]


def turns(folder, name):
    """A program for wrk that shows one token after the other, for the step that wants that."""
    if name != FRESH:
        return ""
    listed = os.path.join(folder, "tokens")
    if not os.path.exists(listed):
        peers.write(folder, "tokens", "\n".join(issuer().tokens(FRESH_TOKENS)) + "\n")
    return f"""
local ready, turn = {{}}, 0
init = function(arguments)
  for token in io.lines({json.dumps(listed)}) do
    wrk.headers["Authorization"] = "Bearer " .. token
    ready[#ready + 1] = wrk.format()
  end
end
request = function()
  turn = turn % #ready + 1
  return ready[turn]
end
"""


def rules(count):
    """One rule permits the caller of the rig; the others speak of others."""
    listed = ['[[policies]]\nid = "rig"\neffect = "permit"\ncallers = ["corp/ann", "rig"]\n']
    listed += [f'[[policies]]\nid = "other{number}"\n'
               f'effect = "{"forbid" if number % 10 == 0 else "permit"}"\n'
               f'callers = ["corp/user{number}*"]\ncapabilities = ["rig.file/1"]\n'
               for number in range(count - 1)]
    return "\n".join(listed)


def hook(kind, origin_port):
    """The origin answers as a hook over HTTP as well: any 200 allows."""
    if not kind:
        return ""
    kept = 'cache = { key = ["principal", "method", "path"], ttl = "60s" }' if kind == "kept" else ""
    return f"""
[governance]
hooks = ["origin"]

[[hooks]]
id = "origin"
kind = "http"
endpoints = ["127.0.0.1:{origin_port}"]
path_prefix = "/allow"
{kept}
"""


def step(folder, name, origin_port):
    """What the listener says of callers, and what else the process file says."""
    if name not in STEPS:
        return "", ""
    identity, count, _, asked = STEPS[name]
    peers.write(folder, "jwks.json", json.dumps(issuer().keys))
    digest = hashlib.sha256(API_KEY.encode()).hexdigest()
    peers.write(folder, "keys.toml",
                f'[[keys]]\nprincipal = "rig"\nhash = "sha256:{digest}"\nowner = "rig"\n')
    policy = rules(count) if count else '[policy]\ndefault = "open"\n'
    more = f"""
[[identities]]
name = "corp"
kind = "jwt"
issuer = "{ISSUER}"
audience = ["rig"]
algorithms = ["EdDSA"]
keys = "jwks.json"

[[identities]]
name = "keys"
kind = "api_key"
file = "keys.toml"

{policy}
{hook(asked, origin_port)}
"""
    return f'identify = ["{identity}"]', more

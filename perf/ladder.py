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

# Who is known by what, how many rules are in the way, and what a trail is told.
STEPS = {
    "caio-key": ("keys", 0, None),
    "caio-jwt": ("corp", 0, None),
    "caio-policy": ("corp", 1000, None),
    "caio-audited": ("corp", 1000, ""),
}
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
    """A key of Ed25519 (RFC 8037) and one token that holds as long as a run may take."""

    def __init__(self):
        with tempfile.TemporaryDirectory() as folder:
            key, signed = os.path.join(folder, "key.pem"), os.path.join(folder, "signed")
            openssl("genpkey", "-algorithm", "ed25519", "-out", key)
            # The last 32 bytes of the public key's DER are the key itself.
            public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-32:]
            claims = {"iss": ISSUER, "aud": "rig", "sub": "ann", "exp": int(time.time()) + 86_400}
            head = {"alg": "EdDSA", "kid": "one"}
            text = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
            with open(signed, "w") as out:
                out.write(text)
            signature = openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", signed)
        self.token = f"{text}.{encoded(signature)}"
        self.keys = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
                               "x": encoded(public)}]}


ISSUERS = []


def issuer():
    """The one issuer of a run, made when it is first asked for."""
    if not ISSUERS:
        ISSUERS.append(Issuer())
    return ISSUERS[0]


def fields():
    """What every request of the ladder shows."""
    return [f"X-Api-Key: {API_KEY}", f"Authorization: Bearer {issuer().token}"]


def rules(count):
    """One rule permits the caller of the rig; the others speak of others."""
    listed = ['[[policies]]\nid = "rig"\neffect = "permit"\ncallers = ["corp/ann", "rig"]\n']
    listed += [f'[[policies]]\nid = "other{number}"\n'
               f'effect = "{"forbid" if number % 10 == 0 else "permit"}"\n'
               f'callers = ["corp/user{number}*"]\ncapabilities = ["rig.file/1"]\n'
               for number in range(count - 1)]
    return "\n".join(listed)


def step(folder, name):
    """What the listener says of callers, and what else the process file says."""
    if name not in STEPS:
        return "", ""
    identity, count, _ = STEPS[name]
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
"""
    return f'identify = ["{identity}"]', more

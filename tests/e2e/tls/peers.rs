//! Certificates made for one test, and peers that speak TLS: curl, OpenSSL and Python, none of
//! which shares code with the gateway's TLS.

use crate::support::{PATIENCE, Scratch};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An authority.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What is particular about a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) names: Vec<SanType>,
    pub(crate) from_year: i32,
    pub(crate) to_year: i32,
    /// Instead of the year: the last second, since 1970.
    pub(crate) last_s: Option<u64>,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) is_ca: bool,
    pub(crate) serial: u64,
}

impl Leaf {
    /// A server's.
    pub(crate) fn server(names: &[&str]) -> Self {
        let dns = |name: &&str| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        };
        Self {
            names: names.iter().map(dns).collect(),
            from_year: 2020,
            to_year: 4000,
            last_s: None,
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth],
            is_ca: false,
            serial: 7,
        }
    }

    /// A caller's.
    pub(crate) fn client(serial: u64) -> Self {
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Self { usages, serial, ..Self::server(&["caller.example"]) }
    }

    /// Named by a URI.
    pub(crate) fn uri(self, uri: &str) -> Self {
        Self { names: vec![SanType::URI(uri.try_into().unwrap())], ..self }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("leaf {}", self.serial));
        params.subject_alt_names = self.names.clone();
        params.not_before = date_time_ymd(self.from_year, 1, 1);
        params.not_after = match self.last_s {
            Some(last_s) => date_time_ymd(1970, 1, 1) + Duration::from_secs(last_s),
            None => date_time_ymd(self.to_year, 1, 1),
        };
        params.extended_key_usages = self.usages.clone();
        params.serial_number = Some(SerialNumber::from(self.serial));
        params.is_ca = match self.is_ca {
            true => IsCa::Ca(BasicConstraints::Unconstrained),
            false => IsCa::ExplicitNoCa,
        };
        params
    }

    /// Writes `NAME.pem` and `NAME.key`, signed by nobody else.
    pub(crate) fn self_signed(&self, scratch: &Scratch, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = self.params().self_signed(&key).unwrap();
        scratch.write(&format!("{name}.pem"), &certificate.pem());
        scratch.write(&format!("{name}.key"), &key.serialize_pem());
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Writes `NAME.pem`.
    pub(crate) fn write(&self, scratch: &Scratch, name: &str) {
        scratch.write(&format!("{name}.pem"), &self.pem);
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub(crate) fn sign(&self, scratch: &Scratch, name: &str, leaf: &Leaf) {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.params().signed_by(&key, &self.issuer).unwrap();
        scratch.write(&format!("{name}.key"), &key.serialize_pem());
        scratch.write(&format!("{name}.pem"), &certificate.pem());
    }

    /// Writes `NAME.ocsp`, as OpenSSL's responder has it: `NAME.pem`, whose serial is 7, is good.
    pub(crate) fn respond(&self, scratch: &Scratch, name: &str) {
        scratch.write("responder.pem", &self.pem);
        scratch.write("responder.key", &self.issuer.key().serialize_pem());
        scratch.write("index.txt", "V\t40000101000000Z\t\t07\tunknown\t/CN=leaf 7\n");
        let (pem, response) = (format!("{name}.pem"), format!("{name}.ocsp"));
        let mut command = Command::new("openssl");
        command.args(["ocsp", "-index", "index.txt", "-CA", "responder.pem", "-ndays", "30"]);
        command.args(["-rsigner", "responder.pem", "-rkey", "responder.key", "-noverify"]);
        command.args(["-issuer", "responder.pem", "-cert", &pem, "-respout", &response]);
        let (done, said) = output(command, scratch.path(), b"");
        assert!(done && scratch.path().join(response).is_file(), "{said}");
    }

    /// Writes `NAME.crl`, which is due in this year and revokes these.
    pub(crate) fn revoke(&self, scratch: &Scratch, name: &str, due_year: i32, serials: &[u64]) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(due_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&self.issuer).unwrap().pem().unwrap();
        scratch.write(&format!("{name}.crl"), &pem);
    }
}

/// What a program said, standard output and error together.
fn output(mut command: Command, folder: &Path, input: &[u8]) -> (bool, String) {
    let mut child = command
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|why| panic!("{command:?}: {why}"));
    // A peer that has ended already does not read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// `curl` for `https://NAME:PORT/PATH` at the gateway; what it printed, and whether it was content.
pub(crate) fn curl(
    folder: &Path,
    at: SocketAddr,
    name: &str,
    path: &str,
    more: &[&str],
) -> (bool, String) {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", &PATIENCE.as_secs().to_string(), "--cacert", "ca.pem"]);
    command.args(["--connect-to", &format!("{name}:{}:127.0.0.1:{}", at.port(), at.port())]);
    command.args(["-w", " %{http_code} %{http_version}"]).args(more);
    command.arg(format!("https://{name}:{}{path}", at.port()));
    output(command, folder, b"")
}

/// `openssl s_client`, which sends `input` and then waits for the gateway's end.
pub(crate) fn s_client(folder: &Path, at: SocketAddr, more: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &at.to_string(), "-CAfile", "ca.pem"]);
    command.arg("-ign_eof").args(more);
    output(command, folder, input.as_bytes()).1
}

/// A server that is Python's: it answers every request with what it knows of it.
pub(crate) struct Python {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// Arguments: certificate, key, authorities of callers or `-`. It prints its port, and a line for
/// each request. `/close` is answered up to the end of the connection, which is said properly;
/// `/cut` the same, and cut off.
const SERVER: &str = r#"
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
if sys.argv[3] != "-":
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(sys.argv[3])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def serve(plain):
    try:
        secure = context.wrap_socket(plain, server_side=True)
    except (OSError, ssl.SSLError):
        plain.close()
        return
    pending = b""
    while True:
        while b"\r\n\r\n" not in pending:
            try:
                more = secure.recv(65536)
            except OSError:
                more = b""
            if not more:
                break
            pending += more
        if b"\r\n\r\n" not in pending:
            break
        head, pending = pending.split(b"\r\n\r\n", 1)
        path = head.split(b" ")[1]
        shown = secure.getpeercert()
        body = repr((secure.version(), shown and shown["serialNumber"])).encode()
        print(head.split(b"\r\n")[0].decode(), flush=True)
        if path in (b"/close", b"/cut"):
            secure.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
            if path == b"/close":
                try:
                    secure.unwrap()
                except OSError:
                    pass
            break
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    # Not `close`: that would say goodbye.
    socket.socket(fileno=secure.detach()).close()

while True:
    plain, _ = listener.accept()
    threading.Thread(target=serve, args=(plain,), daemon=True).start()
"#;

impl Python {
    pub(crate) fn start(folder: &Path, certificate: &str, callers: &str) -> Self {
        let (pem, key) = (format!("{certificate}.pem"), format!("{certificate}.key"));
        let mut child = Command::new("python3")
            .args(["-c", SERVER, &pem, &key, callers])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        lines.read_line(&mut port).unwrap();
        let address = ([127, 0, 0, 1], port.trim().parse().expect("a port")).into();
        child.stdout = Some(lines.into_inner());
        Self { child, address }
    }

    /// Ends it; a line for each request that it was sent.
    pub(crate) fn end(mut self) -> String {
        self.child.kill().unwrap();
        let mut said = String::new();
        let mut out = self.child.stdout.take().unwrap();
        std::io::Read::read_to_string(&mut out, &mut said).unwrap();
        said
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Key sets kept fresh by threads, from files and from issuers.

use crate::support::{Key, Shown, api_keys, claims, identity, jwt, vocabulary};
use caio::admin::keysets::{Event, Keeper, Tell};
use caio::config::identity::{Identity, KeyPlace, Kind};
use caio::identity::{IdentityError, KeySets, Providers, Selected, TokenCache};
use caio::io::publication::Publication;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longer than anything here takes, for tests that fail instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("caio-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// As whoever replaces a file under a reader should: whole, by renaming.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A kept world: what it published and what it told.
struct Kept {
    providers: Providers,
    keys: Arc<Publication<KeySets>>,
    stale: Arc<AtomicU64>,
    events: Receiver<Event>,
    _keeper: Keeper,
}

impl Kept {
    fn start(identities: &[Identity]) -> Self {
        let providers = Providers::new(identities, &vocabulary());
        let keys = Arc::new(Publication::new(1, KeySets::empty(providers.len())));
        let stale = Arc::new(AtomicU64::new(0));
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let tell: Tell = Arc::new(move |event| {
            let _ = sender.lock().unwrap().send(event);
        });
        let keeper = Keeper::start(&providers, &keys, &stale, &tell).unwrap();
        Self { providers, keys, stale, events, _keeper: keeper }
    }

    fn told(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("something is told")
    }

    fn identify(&self, shown: &Shown) -> Result<Selected, IdentityError> {
        let order = self.providers.order(&["it".to_owned()]);
        let keys = self.keys.current();
        let mut cache = TokenCache::new([1, 2]);
        self.providers.identify(&order, shown, &keys.value, &mut cache, unix_s())
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn token(key: &Key, kid: &str) -> Shown {
    let mut claims = claims();
    let now_s = unix_s();
    (claims["iat"], claims["nbf"]) = (json!(now_s), json!(now_s));
    claims["exp"] = json!(now_s + 600);
    let header = json!({"alg": key.algorithm(), "kid": kid}).to_string();
    Shown::bearer(&key.token(&header, &claims.to_string()))
}

fn of(place: KeyPlace, ca: Option<&Path>) -> Identity {
    let mut settings = jwt();
    settings.keys.place = place;
    settings.keys.ca = ca.map(Path::to_owned);
    settings.keys.refresh_s = 3600;
    settings.keys.min_refresh_s = 1;
    identity("it", settings)
}

fn set(keys: &[(&Key, &str)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(key, kid)| key.jwk(kid)).collect();
    json!({ "keys": keys }).to_string()
}

#[test]
fn a_changed_file_is_read_and_a_bad_one_changes_nothing_and_is_told() {
    let directory = Directory::new("keys-file");
    let (one, two) = (Key::ed25519(), Key::ed25519());
    let path = directory.write("keys.json", &set(&[(&one, "a")]));
    let kept = Kept::start(&[of(KeyPlace::File(path), None)]);
    // A file is there before the first call.
    assert!(kept.identify(&token(&one, "a")).is_ok());
    let event = |outcome| Event { identity: "it".to_owned(), outcome, usable: true };
    assert_eq!(kept.told(), event(Ok(1)));
    directory.write("keys.json", "{}");
    let told = kept.told();
    assert!(told.outcome.is_err() && told.usable, "{told:?}");
    assert!(kept.identify(&token(&one, "a")).is_ok());
    directory.write("keys.json", &set(&[(&two, "b"), (&one, "c")]));
    assert_eq!(kept.told(), event(Ok(2)));
    assert!(kept.identify(&token(&two, "b")).is_ok());
    assert_eq!(kept.identify(&token(&one, "a")), Err(IdentityError::KeyUnknown(0)));
}

#[test]
fn an_api_key_that_is_taken_out_of_its_file_is_refused() {
    let directory = Directory::new("keys-toml");
    let secret = "caio_0123456789abcdef0123456789abcdef";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("[[keys]]\nprincipal = \"a\"\nhash = \"sha256:{hex}\"\nowner = \"t\"\n");
    let path = directory.write("keys.toml", &text);
    let mut keys = api_keys("it");
    let Kind::ApiKey(settings) = &mut keys.kind else { panic!() };
    settings.file = path;
    let kept = Kept::start(&[keys]);
    let shown = Shown::default().with("x-api-key", secret.as_bytes());
    assert!(kept.identify(&shown).is_ok());
    assert_eq!(kept.told().outcome, Ok(1));
    directory.write("keys.toml", "");
    assert_eq!(kept.told().outcome, Ok(0));
    assert!(matches!(kept.identify(&shown), Err(IdentityError::Invalid(_))));
}

/// An issuer on the loopback: what it answers, and how often it was asked.
struct Issuer {
    port: u16,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

/// Serves one exchange over whatever carries it.
fn exchange(stream: &mut (impl Read + Write), answer: &str) {
    let mut lines = BufReader::new(&mut *stream);
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.flush();
}

fn issuer(first: &str, secured: Option<Arc<rustls::ServerConfig>>) -> Issuer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(Mutex::new(first.to_owned()));
    let asked = Arc::new(AtomicUsize::new(0));
    let (answers, count) = (Arc::clone(&answer), Arc::clone(&asked));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            count.fetch_add(1, Ordering::SeqCst);
            let text = answers.lock().unwrap().clone();
            match &secured {
                None => exchange(&mut stream, &text),
                Some(config) => {
                    let Ok(tls) = rustls::ServerConnection::new(Arc::clone(config)) else { return };
                    let mut tls = rustls::StreamOwned::new(tls, stream);
                    exchange(&mut tls, &text);
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                }
            }
        }
    });
    Issuer { port, answer, asked }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn a_rotated_key_is_fetched_when_a_token_names_it_and_not_for_every_token() {
    let (one, two) = (Key::ed25519(), Key::ed25519());
    let issuer = issuer(&ok(&set(&[(&one, "a")])), None);
    let url = format!("http://127.0.0.1:{}/keys", issuer.port);
    let kept = Kept::start(&[of(KeyPlace::Url(url), None)]);
    assert_eq!(kept.told().outcome, Ok(1));
    assert!(kept.identify(&token(&one, "a")).is_ok());
    *issuer.answer.lock().unwrap() = ok(&set(&[(&one, "a"), (&two, "b")]));
    // A storm of tokens with keys that nobody knows is one bit, and so one more fetch.
    for number in 0..1000 {
        let storm = token(&two, &format!("b{number}"));
        assert_eq!(kept.identify(&storm), Err(IdentityError::KeyUnknown(0)));
        kept.stale.fetch_or(1, Ordering::Relaxed);
    }
    assert_eq!(kept.told().outcome, Ok(2));
    assert!(kept.identify(&token(&two, "b")).is_ok());
    assert!(issuer.asked.load(Ordering::SeqCst) <= 4, "{:?}", issuer.asked);
}

#[test]
fn what_an_issuer_should_not_answer_changes_nothing_and_leads_nowhere() {
    let key = Key::ed25519();
    let good = ok(&set(&[(&key, "a")]));
    let elsewhere = issuer(&good, None);
    let moved = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.port
    );
    let large = ok(&format!("{}{}", set(&[(&key, "a")]), " ".repeat(2 << 20)));
    let answers = [
        moved,
        large,
        good.replace("200 OK", "404 Not Found"),
        good.replace("200 OK", "503 Service Unavailable"),
        good.replace("200 OK", "204 No Content"),
        good.replace("HTTP/1.1", "SMTP"),
        good[..good.len() - 5].to_owned(),
        ok("<html></html>"),
        ok(&set(&[])),
        String::new(),
    ];
    for answer in answers {
        let bad = issuer(&answer, None);
        let url = format!("http://127.0.0.1:{}/keys", bad.port);
        let kept = Kept::start(&[of(KeyPlace::Url(url), None)]);
        let told = kept.told();
        assert!(
            told.outcome.is_err() && !told.usable,
            "{told:?}: {}",
            &answer[..30.min(answer.len())]
        );
        assert_eq!(kept.identify(&token(&key, "a")), Err(IdentityError::Unavailable(0)));
    }
    assert_eq!(elsewhere.asked.load(Ordering::SeqCst), 0, "a redirection was followed");
}

#[test]
fn an_issuer_is_believed_only_with_a_certificate_of_its_authority_and_name() {
    let directory = Directory::new("keys-tls");
    let key = Key::ed25519();
    let config = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der.into())
            .unwrap();
        (Arc::new(config), certificate.pem())
    };
    let (sound, pem) = config(&["localhost"]);
    let (other, other_pem) = config(&["elsewhere.example"]);
    let ca = directory.write("ca.pem", &pem);
    let other_ca = directory.write("other.pem", &other_pem);
    let empty = directory.write("empty.pem", "");
    let answer = ok(&set(&[(&key, "a")]));
    let missing = directory.0.join("missing.pem");
    for (config, ca, works) in [
        (&sound, Some(ca.as_path()), true),
        (&sound, Some(other_ca.as_path()), false),
        (&sound, Some(empty.as_path()), false),
        (&sound, Some(missing.as_path()), false),
        (&sound, None, false),
        (&other, Some(other_ca.as_path()), false),
    ] {
        let issuer = issuer(&answer, Some(Arc::clone(config)));
        let url = format!("https://localhost:{}/keys", issuer.port);
        let kept = Kept::start(&[of(KeyPlace::Url(url), ca)]);
        let told = kept.told();
        assert_eq!((told.outcome.is_ok(), told.usable), (works, works), "{told:?}");
        assert_eq!(kept.identify(&token(&key, "a")).is_ok(), works);
    }
}

#[test]
fn keys_that_cannot_be_renewed_are_refused_once_they_are_too_old() {
    let key = Key::ed25519();
    let issuer = issuer(&ok(&set(&[(&key, "a")])), None);
    let url = format!("http://127.0.0.1:{}/keys", issuer.port);
    let mut identity = of(KeyPlace::Url(url), None);
    let Kind::Jwt(settings) = &mut identity.kind else { panic!() };
    (settings.keys.refresh_s, settings.keys.keep_s) = (1, 3);
    let kept = Kept::start(&[identity]);
    assert!(kept.told().usable);
    *issuer.answer.lock().unwrap() = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned();
    let told = kept.told();
    assert!(told.outcome.is_err() && told.usable, "{told:?}");
    let told = kept.told();
    assert!(told.outcome.is_err() && !told.usable, "{told:?}");
    assert_eq!(kept.identify(&token(&key, "a")), Err(IdentityError::Unavailable(0)));
    *issuer.answer.lock().unwrap() = ok(&set(&[(&key, "a")]));
    assert!(kept.told().usable);
    assert!(kept.identify(&token(&key, "a")).is_ok());
}

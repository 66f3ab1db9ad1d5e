//! What services promise and ask, as documents: such as they are written, random, and known here in
//! the few words that the storm's own statements are about.

use fastrand::Rng;
use std::net::SocketAddr;

/// How many capabilities there are.
pub(crate) const CAPABILITIES: usize = 48;
/// One of them has so many offers that it is laid out in rows of bits.
pub(crate) const CROWDED: usize = 0;
/// One of them few offer and many call.
pub(crate) const HOT: usize = 4;

/// One more only [`LONELY`] offers, and nobody changes that.
pub(crate) const LONELY_OFFERS: usize = CAPABILITIES;
/// Whom nobody can stand in for.
pub(crate) const LONELY: &str = "lonely";

/// The process file: who calls, what they need, and what must never be.
pub(crate) const PROCESS: &str = r#"config = "caio/1"
vocabulary = "v.toml"

[[listeners]]
address = "127.0.0.1:0"

[routing]
p2c = ["cap.1/1", "cap.2/1"]
inflight = ["cap.3/1", "cap.4/1"]

[health]
check = "tcp"
interval = "1s"
timeout = "500ms"

[outlier]
base_ejection_time = "2s"
max_ejection_time = "6s"
max_ejection_percent = 50

[retry]
attempts = 2

[[callers]]
id = "team/a"
networks = ["10.1.0.0/16"]

[[callers]]
id = "team/b"
networks = ["10.2.0.0/16"]

[[requirements]]
id = "b-stays"
caller = "team/b"
needs = ['residency.within("eu")']

[[requirements]]
id = "fast"
route = "POST /cap3"
needs = ['latency(100ms) <= 1%']

[[policies]]
id = "all"
effect = "permit"

[[policies]]
id = "not-these"
effect = "forbid"
services = ["s1*"]
callers = ["anonymous"]
when = 'data.class == "internal"'

[[policies]]
id = "look-at"
effect = "forbid"
mode = "shadow"
services = ["s2*"]

[[prove]]
id = "phi-stays"
never = 'data.class == "phi" && !service.residency.within("eu")'

[[prove]]
id = "nothing-is-kept"
never = 'data.class == "phi" && service.retention > 0s'
"#;

/// One contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doc {
    pub(crate) id: String,
    pub(crate) version: u32,
    pub(crate) capabilities: Vec<usize>,
    pub(crate) europe: bool,
    /// Whether it takes `phi`.
    pub(crate) phi: bool,
    /// The largest request that it takes, in KiB.
    pub(crate) most: u64,
    /// Milliseconds within which all but a hundredth are answered, always, and of small requests.
    pub(crate) within: [u64; 2],
    pub(crate) tier: u8,
    pub(crate) endpoints: Vec<SocketAddr>,
    pub(crate) lease_ms: Option<u64>,
}

const LEVELS: [u64; 5] = [20, 50, 100, 200, 400];

impl Doc {
    /// A sound one.
    pub(crate) fn random(rng: &mut Rng, id: String, endpoints: Vec<SocketAddr>) -> Self {
        let number = match rng.u8(..72) {
            0 => HOT,
            1..7 => CROWDED,
            _ => HOT + 1 + rng.usize(..CAPABILITIES - HOT - 1),
        };
        let mut capabilities = vec![number];
        if rng.u8(..4) == 0 {
            let other = rng.usize(..HOT);
            capabilities.retain(|it| *it != other);
            capabilities.push(other);
        }
        let europe = rng.u8(..3) > 0;
        let slow = rng.usize(1..LEVELS.len());
        Self {
            id,
            version: 1,
            capabilities,
            europe,
            phi: europe && rng.bool(),
            most: 1 << rng.u32(2..14),
            within: [LEVELS[slow], LEVELS[rng.usize(..slow)]],
            tier: rng.u8(..2),
            endpoints,
            lease_ms: (rng.u8(..3) == 0).then_some(3_000),
        }
    }

    /// The one of [`LONELY`].
    pub(crate) fn lonely(endpoints: Vec<SocketAddr>) -> Self {
        Self {
            id: LONELY.to_owned(),
            version: 1,
            capabilities: vec![LONELY_OFFERS],
            europe: true,
            phi: true,
            most: 1 << 14,
            within: [50, 20],
            tier: 0,
            endpoints,
            lease_ms: None,
        }
    }

    /// Another contract of the same service: better, worse, or about something else.
    pub(crate) fn upgraded(&self, rng: &mut Rng) -> Self {
        let mut next = Self { version: self.version + 1, ..self.clone() };
        match rng.u8(..6) {
            0 | 1 => next.most = self.most << rng.u32(..3),
            2 => next.most = (self.most >> 1).max(1),
            3 => next.within = [LEVELS[2], LEVELS[0]],
            4 => next.phi = next.europe && !next.phi,
            _ => next.capabilities = vec![rng.usize(..CAPABILITIES)],
        }
        next
    }

    /// One that would let `phi` leave Europe.
    pub(crate) fn unsound(&self) -> Self {
        Self { version: self.version + 1, europe: false, phi: true, ..self.clone() }
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        let endpoints: Vec<String> =
            self.endpoints.iter().map(|address| format!("\"{address}\"")).collect();
        let lease = self.lease_ms.map_or(String::new(), |ms| format!("lease = \"{ms}ms\"\n"));
        let mut text = format!(
            "endpoints = [{}]\ntier = {}\n{lease}[contract]\nservice = \"{}\"\n\
             version = \"1.{}.0\"\n",
            endpoints.join(", "),
            self.tier,
            self.id,
            self.version
        );
        let classes = match self.phi {
            true => "",
            false => ", class = 'data.class in [\"public\", \"internal\"]'",
        };
        let region = if self.europe { "eu" } else { "us" };
        let [slow, fast] = self.within;
        for number in &self.capabilities {
            text += &format!(
                "[[contract.offers]]\ncapability = \"cap.{number}/1\"\n\
                 interface = {{ http = [\"POST /cap{number}\", \"GET /cap{number}\"] }}\n\
                 demands = {{ size = 'request.bytes <= {}KiB'{classes} }}\n\
                 [[contract.offers.promises]]\nresidency = 'within \"{region}\"'\n\
                 retention = \"<= 0d\"\n\
                 latency = {{ within = \"{slow}ms\", except = \"1%\" }}\n\
                 [[contract.offers.promises]]\nwhen = 'request.bytes <= 4KiB'\n\
                 latency = {{ within = \"{fast}ms\", except = \"1%\" }}\n",
                self.most
            );
        }
        text
    }
}

//! Governance hooks in one worker: who is asked, in which order, and what comes of it.
//!
//! ```text
//!   hooks of the route ─▶ for each: cache ─▶ breaker ─▶ HookCall ─▶ interpret ─▶ Asked
//!                              first refusal ends it ─▶ Governed ─▶ call::begin, which records it
//! ```

use super::hook_call::HookCall;
use super::landscape::Landscape;
use super::partners::{Partner, Partners};
use super::pool::{Endpoint, Pool};
use super::unary::NoAnswer;
use super::worker::Worker;
use crate::audit::asked::{Asked, Came};
use crate::config::hook::{Hook, HookKind, OnFailure};
use crate::exchange::amendments::Amendments;
use crate::exchange::governed::{Governed, amendments};
use crate::exchange::refusal::{Reason, Refusal};
use crate::governance::answer::{self, Answer, Changes, Nonsense, Terms, Verdict};
use crate::governance::breaker::Breaker;
use crate::governance::cache::{Cache, Kept, Key};
use crate::governance::framing;
use crate::governance::http::{self, Received};
use crate::governance::question::{Described, Question};
use crate::governance::wanted::Wanted;
use crate::io::clock::monotonic_ns;
use crate::snapshot::{RouteId, Snapshot};
use crate::wire::limits::{HOOK_CACHED_BYTES_MAX, HOOK_CALLS_MAX};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// The hooks of a landscape in one worker.
pub struct Hooks {
    known: Arc<Partners<Hook>>,
    states: Vec<Rc<State>>,
}

/// What a worker remembers of one hook, over all landscapes that have it as it is.
struct State {
    known: Arc<Partner<Hook>>,
    cache: RefCell<Cache>,
    breaker: RefCell<Breaker>,
    turn: Cell<usize>,
    /// Calls to this hook alone: one that is slow takes no other's places.
    in_flight: Cell<usize>,
}

/// A call to a hook that is counted as long as it lives.
struct InFlight<'a>(&'a Cell<usize>);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Hooks {
    /// The hooks of a landscape; of those that the one before had, what the worker remembers.
    pub fn new(known: &Arc<Partners<Hook>>, before: Option<&Rc<Self>>) -> Rc<Self> {
        if let Some(same) = before.filter(|before| Arc::ptr_eq(&before.known, known)) {
            return Rc::clone(same);
        }
        let before = before.map_or(&[][..], |before| &before.states);
        let state = |known: &Arc<Partner<Hook>>| {
            let same = before.iter().find(|state| Arc::ptr_eq(&state.known, known));
            same.map_or_else(|| State::new(known), Rc::clone)
        };
        Rc::new(Self { states: known.iter().map(state).collect(), known: Arc::clone(known) })
    }

    /// Whether nobody is asked.
    pub fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// The hook of this number in the landscape.
    fn state(&self, snapshot: &Snapshot, number: u16) -> Option<&Rc<State>> {
        let (id, _) = snapshot.governance().hook(number)?;
        self.states.iter().find(|state| state.known.own.id == id)
    }
}

impl State {
    fn new(known: &Arc<Partner<Hook>>) -> Rc<Self> {
        Rc::new(Self {
            known: Arc::clone(known),
            cache: RefCell::default(),
            breaker: RefCell::default(),
            turn: Cell::new(0),
            in_flight: Cell::new(0),
        })
    }

    /// A place for one call, unless all of them are taken.
    fn enter(&self) -> Option<InFlight<'_>> {
        let before = self.in_flight.get();
        (before < HOOK_CALLS_MAX).then(|| {
            self.in_flight.set(before + 1);
            InFlight(&self.in_flight)
        })
    }

    fn endpoint(&self, pool: &Pool) -> Option<Rc<Endpoint>> {
        let Partner { own: hook, towards } = &*self.known;
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let address = hook.endpoints.get(turn % hook.endpoints.len().max(1))?;
        Some(pool.endpoint(*address, towards.as_ref()))
    }
}

/// How much of a request's body the hooks of a route are to see.
pub fn wanted(landscape: &Landscape, route: RouteId) -> Wanted {
    let Landscape { snapshot, hooks, .. } = landscape;
    let named = snapshot.hooks(route).iter();
    Wanted::of(named.filter_map(|number| Some(&hooks.state(snapshot, *number)?.known.own)))
}

/// What came of asking one hook.
struct Reply {
    asked: Asked,
    answer: Result<Answer, NoAnswer>,
}

/// Asks the hooks of a route in order, until one refuses. `before` is what the request loses
/// whatever they say: its credentials, where they were for the gateway alone.
pub async fn ask(
    worker: &Rc<Worker>,
    landscape: &Landscape,
    route: RouteId,
    described: &Described<'_>,
    before: Option<&Amendments>,
) -> Governed {
    let is_withheld = |name: &str| before.is_some_and(|it| it.withholds(name.as_bytes()));
    let mut governed = Governed {
        route,
        asked: Vec::new(),
        facts: Vec::new(),
        amendments: Amendments::default(),
        refusal: None,
    };
    let mut changes = Changes::default();
    let snapshot = &*landscape.snapshot;
    for number in snapshot.hooks(route) {
        let reply = ask_one(worker, landscape, *number, described, &is_withheld).await;
        let mut asked = reply.asked;
        governed.refusal = take((&mut governed, &mut changes), reply, worker, snapshot);
        if governed.refusal.is_none() && hands_on(&changes, described, is_withheld) {
            let detail = "a hook hands a credential on that is for the gateway alone";
            governed.refusal = Some(unavailable(detail));
        }
        if governed.refusal.is_some() && asked.came.passes() {
            // Sensible by itself, and too much beside the others.
            asked.came = Came::Unavailable;
        }
        governed.asked.push(asked);
        if governed.refusal.is_some() {
            break;
        }
    }
    // What is withheld is gone before a hook speaks.
    let found = |name: &str| described.fields.value(name).filter(|_| !is_withheld(name));
    governed.amendments = amendments(&changes, found);
    governed
}

/// Whether a field for the service has in it what the caller said under its name, and what is
/// withheld from services. A hook may say there what it likes, such as a token of its own; the
/// caller's own it may have no more than anybody.
fn hands_on(
    changes: &Changes,
    described: &Described<'_>,
    is_withheld: impl Fn(&str) -> bool,
) -> bool {
    changes.service.iter().filter(|change| is_withheld(&change.name)).any(|change| {
        described.fields.twins(&change.name).any(|own| {
            // With or without the word before it that says what it is.
            let own = own.split(' ').next_back().unwrap_or(own);
            !own.is_empty() && change.value.contains(own)
        })
    })
}

/// Takes one hook's word; the refusal, where it is one.
fn take(
    (governed, all): (&mut Governed, &mut Changes),
    reply: Reply,
    worker: &Worker,
    snapshot: &Snapshot,
) -> Option<Refusal> {
    match reply.answer {
        Ok(Answer { verdict: Verdict::Allow(changes), facts }) => {
            governed.facts.extend(facts);
            let too_much = all.join(changes).is_err();
            too_much.then(|| unavailable("the hooks change more fields than a head may have"))
        }
        Ok(Answer { verdict: Verdict::Deny(denial), .. }) => {
            let mut refusal = Refusal::new(Reason::GovernanceDenied, "a governance hook refuses");
            refusal.denial = Some(Box::new(denial));
            Some(refusal)
        }
        Err(_) if reply.asked.came == Came::Open => None,
        Err(why) => {
            worker.counters.hook_failures.add(1);
            let id = snapshot.governance().hook(reply.asked.hook).map_or("?", |(id, _)| id);
            let what = match why {
                NoAnswer::Silent => "did not answer in time",
                NoAnswer::Gone => "cannot be reached",
                NoAnswer::Nonsense(_) => "gave no sensible answer",
            };
            Some(unavailable(format!("hook `{id}` {what}")))
        }
    }
}

fn unavailable(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::GovernanceUnavailable, detail)
}

/// Asks one hook, or remembers what it said.
async fn ask_one(
    worker: &Rc<Worker>,
    landscape: &Landscape,
    number: u16,
    described: &Described<'_>,
    is_withheld: &impl Fn(&str) -> bool,
) -> Reply {
    let mut asked =
        Asked { hook: number, came: Came::Unavailable, cached: false, digest: [0; 16], took_ns: 0 };
    let Landscape { snapshot, version, hooks, .. } = landscape;
    let Some(state) = hooks.state(snapshot, number) else {
        return Reply { asked, answer: Err(NoAnswer::Gone) };
    };
    let hook = &state.known.own;
    // Each is sent as much of the body as it is configured to see, and no more.
    let described = &described.cut(hook.body_bytes);
    let now_ms = worker.clock.now_ms();
    let key = hook.cache.as_ref().map(|terms| (terms, Key::of(terms, described)));
    if let Some((_, key)) = &key
        && let Some(kept) = state.cache.borrow_mut().find(key, *version, now_ms)
    {
        asked.cached = true;
        asked.digest = kept.digest;
        asked.came = came(&kept.answer);
        worker.counters.hook_hits.add(1);
        return Reply { asked, answer: Ok(kept.answer.clone()) };
    }
    let began_ns = monotonic_ns();
    let terms = Terms { hook, deciding: snapshot.governance().deciding() };
    let answer = question(worker, state, &terms, described, &mut asked).await;
    asked.took_ns = monotonic_ns().saturating_sub(began_ns);
    match &answer {
        Ok((answer, bytes)) => {
            asked.came = came(answer);
            if let Some((terms, key)) = key
                && *bytes <= HOOK_CACHED_BYTES_MAX
                && !names_any(answer, is_withheld)
            {
                let kept = Kept { answer: answer.clone(), digest: asked.digest };
                let now_ms = worker.clock.now_ms();
                state.cache.borrow_mut().keep(key, kept, terms, *version, now_ms);
            }
        }
        Err(_) => {
            // Both must say so: what is on record, and what is asked by.
            let recorded = snapshot.governance().hook(number).map(|(_, failure)| failure);
            let opens = hook.on_failure == OnFailure::Open && recorded == Some(OnFailure::Open);
            asked.came = if opens { Came::Open } else { Came::Unavailable };
        }
    }
    Reply { asked, answer: answer.map(|(answer, _)| answer) }
}

/// Whether an answer speaks of a field that is withheld from services. Whether it may depends on
/// the very request, so such an answer is never kept for another.
fn names_any(answer: &Answer, is_withheld: &impl Fn(&str) -> bool) -> bool {
    let Verdict::Allow(changes) = &answer.verdict else { return false };
    changes.service.iter().any(|change| is_withheld(&change.name))
}

fn came(answer: &Answer) -> Came {
    match answer.verdict {
        Verdict::Allow(_) => Came::Allow,
        Verdict::Deny(_) => Came::Deny,
    }
}

/// Asks over the network; the answer, and how many bytes it took.
async fn question(
    worker: &Rc<Worker>,
    state: &State,
    terms: &Terms<'_>,
    described: &Described<'_>,
    asked: &mut Asked,
) -> Result<(Answer, usize), NoAnswer> {
    let Some(_counted) = state.enter() else { return Err(NoAnswer::Gone) };
    if !state.breaker.borrow_mut().admit(worker.clock.now_ms()) {
        return Err(NoAnswer::Gone);
    }
    worker.counters.hook_calls.add(1);
    let answered = match state.endpoint(&worker.hook_pool) {
        Some(endpoint) => over(worker, terms, described, &endpoint, asked).await,
        None => Err(NoAnswer::Gone),
    };
    match &answered {
        Ok(_) => state.breaker.borrow_mut().succeeded(),
        Err(_) => {
            state.breaker.borrow_mut().failed(worker.clock.now_ms());
        }
    }
    answered
}

async fn over(
    worker: &Rc<Worker>,
    terms: &Terms<'_>,
    described: &Described<'_>,
    endpoint: &Rc<Endpoint>,
    asked: &mut Asked,
) -> Result<(Answer, usize), NoAnswer> {
    let hook = terms.hook;
    let sensible = |answer: Result<Answer, Nonsense>| {
        answer.map_err(|Nonsense(what)| NoAnswer::Nonsense(what))
    };
    match hook.kind {
        HookKind::Grpc => {
            let call = HookCall::new(hook, Question::grpc(hook, described));
            let body = call.grpc(worker, endpoint).await?;
            asked.digest = answer::digest(&[&body]);
            let message = framing::message(&body);
            let message = message.map_err(|Nonsense(what)| NoAnswer::Nonsense(what))?;
            let answer = sensible(answer::interpret(message, terms))?;
            Ok((answer, body.len()))
        }
        HookKind::Http => {
            let authority = hook.authority.clone();
            let authority = authority.unwrap_or_else(|| endpoint.address.to_string());
            let call = HookCall::new(hook, Question::http(hook, described, &authority));
            let found = call.http(worker, &worker.hook_pool, endpoint).await?;
            let fields: Vec<(&[u8], &[u8])> =
                found.fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            let mut parts: Vec<&[u8]> = Vec::with_capacity(2 * fields.len() + 2);
            let status = found.status.to_string();
            parts.push(status.as_bytes());
            for (name, value) in &fields {
                parts.extend_from_slice(&[b"\n", name, b": ", value]);
            }
            parts.extend_from_slice(&[b"\n\n", &found.body]);
            asked.digest = answer::digest(&parts);
            let size = parts.iter().map(|part| part.len()).sum();
            let received = Received { status: found.status, fields: &fields, body: &found.body };
            let answer = sensible(http::interpret(&received, terms))?;
            Ok((answer, size))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::answer::tests::hook;

    #[test]
    fn one_hook_whose_calls_all_wait_takes_no_place_of_another() {
        let hooks = ["slow", "quick"].map(|id| Hook { id: id.to_owned(), ..hook() });
        let known = Arc::<Partners<Hook>>::default().followed_by(&hooks).unwrap();
        let hooks = Hooks::new(&known, None);
        let (slow, quick) = (&hooks.states[0], &hooks.states[1]);
        let mut waiting: Vec<_> = (0..HOOK_CALLS_MAX).map(|_| slow.enter().unwrap()).collect();
        assert!(slow.enter().is_none(), "it has all its places taken");
        assert!(quick.enter().is_some());
        waiting.pop();
        assert!(slow.enter().is_some(), "one was given back");
    }
    #[test]
    fn a_hook_that_is_as_it_was_is_remembered_and_a_changed_one_is_another() {
        let [a, b] = ["a", "b"].map(|id| Hook { id: id.to_owned(), ..hook() });
        let known = Arc::<Partners<Hook>>::default().followed_by(&[a.clone(), b.clone()]).unwrap();
        let hooks = Hooks::new(&known, None);
        let same = known.followed_by(&[a.clone(), b.clone()]).unwrap();
        assert!(Arc::ptr_eq(&known, &same) && Rc::ptr_eq(&hooks, &Hooks::new(&same, Some(&hooks))));
        let b = Hook { timeout_ms: b.timeout_ms + 1, ..b };
        let other = known.followed_by(&[b, a]).unwrap();
        let now = Hooks::new(&other, Some(&hooks));
        assert!(Rc::ptr_eq(&now.states[1], &hooks.states[0]));
        assert!(!Rc::ptr_eq(&now.states[0], &hooks.states[1]));
    }
}

//! `replay`: every recorded decision made again by the engine, and compared.

use super::exchange::{Exchange, Names, Openings, Snapshots, facts};
use super::filter::Filter;
use super::flights::Fold;
use super::gather::{Gather, each};
use super::options::Options;
use super::recorded::{difference, epoch, tried};
use super::trail::Trail;
use super::{Failure, Outcome, counted};
use crate::audit::record::{Hash, Verdict};
use crate::audit::scan::{Context, Landscape};
use crate::balance::epoch::Epoch;
use crate::cli::check::{FINE, WRONG};
use crate::cli::progress::while_it_takes;
use crate::cli::style::Output;
use crate::decide::{HeaderNeeds, Question, decide};
use crate::snapshot::{CapabilityId, RouteId, Snapshot};
use serde_json::json;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What `caio audit replay --help` prints.
pub const HELP: &str = "\
Make every recorded decision again and report each that comes out otherwise. What decides is this
program's own engine, on the landscapes that the trail stores, rebuilt from their text: no
configuration is needed. A landscape that this program would write otherwise is refused.

Usage: caio audit replay --trail DIRECTORY [OPTIONS]

Options: as those of `caio audit query` that filter, for some of the decisions.

Not replayed, but counted: refusals beside the question, and decisions on facts that were erased.
";

/// Differences that are told; the others are counted.
const TOLD_MAX: usize = 100;
/// Headers whose meaning is kept: of one trail, there are few.
const HEADERS_MAX: usize = 4096;

/// A snapshot, a capability, and the lines that a header stood for.
type Stated = (Hash, u32, Rc<[u8]>);

#[derive(Default)]
struct Replay {
    openings: Openings,
    /// The landscape that was last decided on, with its epoch.
    epoch: Option<(Rc<Landscape>, Rc<Epoch>)>,
    headers: BTreeMap<Stated, Rc<HeaderNeeds>>,
    replayed: usize,
    beside: usize,
    erased: usize,
    differences: Vec<(String, String)>,
    differ: usize,
}

/// Runs the verb.
///
/// # Errors
/// What is wrong with the command line or the trail.
pub fn run(options: &Options, out: &mut Output<'_>) -> Outcome {
    options.no_words().map_err(Failure::Usage)?;
    let filter = Filter::read(options).map_err(Failure::Usage)?;
    let trail = options.open()?;
    let replay = while_it_takes("deciding again", || {
        let mut replay = Replay::default();
        let mut gather = Gather::new(filter);
        gather.flights = Some(Fold::default());
        if let Some(from) = trail.beginning() {
            let mut context = Context::default();
            each(&trail, &mut gather, &mut context, from, |exchange, snapshots| {
                replay.again(&trail, &exchange, snapshots);
                Ok(())
            })?;
            for exchange in gather.open()? {
                replay.again(&trail, &exchange, &mut gather.snapshots);
            }
        }
        Ok::<_, String>(replay)
    })?;
    replay.tell(options, out)?;
    Ok(if replay.differ == 0 { FINE } else { WRONG })
}

impl Replay {
    fn again(&mut self, trail: &Trail, exchange: &Exchange, snapshots: &mut Snapshots) {
        if exchange.decision.verdict == Verdict::Refuse {
            self.beside += 1;
            return;
        }
        let snapshot = snapshots.of(trail, exchange);
        let differs = match snapshot {
            Err(what) => Some(what),
            Ok(snapshot) => match self.decided(trail, exchange, &snapshot) {
                Ok(None) => return,
                Ok(Some(differs)) => differs,
                Err(what) => Some(what),
            },
        };
        self.replayed += 1;
        if let Some(what) = differs {
            self.differ += 1;
            if self.differences.len() < TOLD_MAX {
                self.differences.push((exchange.id.to_string(), what));
            }
        }
    }

    /// How it differs, if it does; `None` for one whose facts are gone.
    fn decided(
        &mut self,
        trail: &Trail,
        exchange: &Exchange,
        snapshot: &Rc<Snapshot>,
    ) -> Result<Option<Option<String>>, String> {
        let decision = &exchange.decision;
        let names = Names { exchange, snapshot: Some(snapshot) };
        let facts = match decision.hidden.is_empty() {
            true => decision.facts.iter().map(|(it, value)| (*it, Some(*value))).collect(),
            false => {
                let facts = facts(trail, &names, &mut self.openings)?;
                facts.iter().map(|it| (it.attribute.0, it.number)).collect::<Vec<_>>()
            }
        };
        if facts.iter().any(|(_, number)| number.is_none()) {
            self.erased += 1;
            return Ok(None);
        }
        let entry = names.capability_entry().ok_or("its capability is not in its landscape")?;
        let known = facts.into_iter().filter_map(|(attribute, number)| {
            Some((crate::contract::logic::AttributeId(attribute), number?))
        });
        let vector = entry.columns.recorded(known);
        let header = self.header(&names, snapshot)?;
        let tried = tried(decision);
        let question = Question {
            capability: CapabilityId(decision.capability),
            route: RouteId(decision.route),
            caller: snapshot.class_of(&String::from_utf8_lossy(&decision.caller)),
            needs: names.needs_id(),
            header: header.as_deref(),
            facts: &vector,
            seed: decision.seed,
            tried: &tried,
            flights: &exchange.flights,
        };
        let epoch = self.epoch(exchange, snapshot)?;
        Ok(Some(difference(decision, &decide(snapshot, &epoch, &question), snapshot)))
    }

    fn epoch(&mut self, exchange: &Exchange, snapshot: &Snapshot) -> Result<Rc<Epoch>, String> {
        let landscape = exchange.landscape.as_ref().ok_or("its landscape is not on record")?;
        match &self.epoch {
            Some((known, epoch)) if Rc::ptr_eq(known, landscape) => Ok(Rc::clone(epoch)),
            _ => {
                let epoch = Rc::new(epoch(landscape).leveled(snapshot));
                self.epoch = Some((Rc::clone(landscape), Rc::clone(&epoch)));
                Ok(epoch)
            }
        }
    }

    fn header(
        &mut self,
        names: &Names<'_>,
        snapshot: &Snapshot,
    ) -> Result<Option<Rc<HeaderNeeds>>, String> {
        let Some(lines) = &names.exchange.stated else {
            let stated = names.exchange.decision.dictionary > 0;
            let what = "what its request stated is not on record";
            return if stated { Err(what.to_owned()) } else { Ok(None) };
        };
        let capability = names.exchange.decision.capability;
        let key = (*snapshot.digest(), capability, Rc::clone(lines));
        if let Some(known) = self.headers.get(&key) {
            return Ok(Some(Rc::clone(known)));
        }
        let conditions = names.stated().ok_or("what its request stated cannot be read")?;
        let mut needs = HeaderNeeds::new(conditions);
        needs.bind(snapshot, CapabilityId(capability));
        let needs = Rc::new(needs);
        if self.headers.len() >= HEADERS_MAX {
            self.headers.clear();
        }
        self.headers.insert(key, Rc::clone(&needs));
        Ok(Some(needs))
    }

    fn tell(&self, options: &Options, out: &mut Output<'_>) -> std::io::Result<()> {
        if options.json {
            let differences: Vec<_> = self
                .differences
                .iter()
                .map(|(id, what)| json!({ "id": id, "what": what }))
                .collect();
            let told = json!({
                "replayed": self.replayed,
                "differ": self.differ,
                "refused_beside": self.beside,
                "erased": self.erased,
                "differences": differences,
            });
            return writeln!(out.writer, "{told:#}");
        }
        let paint = out.paint;
        for (id, what) in &self.differences {
            writeln!(out.writer, "{} {what}", paint.red(id))?;
        }
        let told = counted(self.replayed, "decision");
        let all = match self.differ {
            0 => paint.green(&format!("{told} came out as recorded")),
            differ => paint.red(&format!("{differ} of {told} came out otherwise")),
        };
        writeln!(out.writer, "{all}")?;
        let (beside, erased) = (self.beside, self.erased);
        let left = format!("not replayed: {beside} refused beside the question, {erased} erased");
        writeln!(out.writer, "{}", paint.dim(&left))
    }
}

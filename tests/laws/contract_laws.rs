//! The fast logic against the slow reference: normal forms, entailment, and failing closed.

use super::world::{expression, facts, product, promises, world};
use caio::contract::complaint::Complaint;
use caio::contract::entailment::{
    active, conjoin, effective, entails, entails_clause, holds, meet,
};
use caio::contract::expression::{Scope, Tree, parse, parse_negated, parse_tree};
use caio::contract::logic::{AttributeId, Cnf, Facts, Mode, PromiseBox};
use caio::contract::reference::{entails_over, evaluate, representatives};
use caio::contract::set::{Numbers, Set, Value};
use caio::contract::vocabulary::{Declared, Kind, Side, Vocabulary};
use fastrand::Rng;
use std::collections::BTreeSet;

/// The normal form, unless the expression is refused for what the language says it refuses.
fn normal(vocabulary: &Vocabulary, scope: Scope, text: &str) -> Option<Cnf> {
    let refused = |complaints: Vec<Complaint>| {
        let legal = complaints.iter().all(|complaint| {
            complaint.what.contains("can never hold") || complaint.what.contains("more than")
        });
        assert!(legal, "{text}: {complaints:?}");
    };
    parse(vocabulary, scope, text).map_err(refused).ok()
}

fn tree(vocabulary: &Vocabulary, scope: Scope, text: &str) -> Tree {
    parse_tree(vocabulary, scope, text).unwrap_or_else(|c| panic!("{text}: {c:?}"))
}

#[test]
fn a_normal_form_holds_exactly_where_the_expression_is_true() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0001);
    let (mut judged, mut held) = (0, 0);
    for _ in 0..6_000 {
        let text = expression(&mut rng, &vocabulary, Side::Request, |_| true);
        let Some(cnf) = normal(&vocabulary, Scope::Facts, &text) else { continue };
        let tree = tree(&vocabulary, Scope::Facts, &text);
        for _ in 0..8 {
            let facts = facts(&mut rng, &vocabulary, 4);
            let expected = evaluate(&vocabulary, &tree, &facts) == Some(true);
            assert_eq!(holds(&facts, &cnf), expected, "{text}\n{facts:?}");
            judged += 1;
            held += usize::from(expected);
        }
    }
    assert!(judged > 30_000 && held > judged / 10 && held < judged, "{held} of {judged}");
}

/// Every shape of up to three atoms, with every placement of negation.
fn small_expressions(atoms: &[&str]) -> Vec<String> {
    let signed: Vec<String> =
        atoms.iter().flat_map(|atom| [(*atom).to_owned(), format!("!({atom})")]).collect();
    let mut texts = signed.clone();
    for a in &signed {
        for b in &signed {
            for pair in [format!("({a} && {b})"), format!("({a} || {b})")] {
                texts.push(pair.clone());
                texts.push(format!("!{pair}"));
                for c in atoms {
                    texts.push(format!("{pair} && {c}"));
                    texts.push(format!("!{pair} || {c}"));
                }
            }
        }
    }
    texts
}

#[test]
fn every_small_expression_means_the_same_for_every_known_and_unknown_fact() {
    let vocabulary = world();
    let atoms = ["qbool", "qenum == \"a\"", "qenum in [\"b\", \"c\"]", "qint < 1", "qint <= 1"];
    let mut worlds = vec![Facts::new()];
    for (name, values) in
        [("qbool", &["true", "false"][..]), ("qenum", &["a", "b", "c"]), ("qint", &["0", "1", "2"])]
    {
        let declared = vocabulary.find(name).unwrap();
        let known: Vec<_> = values.iter().map(|text| declared.facts(text).unwrap()).collect();
        let with = |world: &Facts| {
            let mut worlds = vec![world.clone()];
            worlds.extend(known.iter().map(|fact| {
                let mut world = world.clone();
                world.extend(fact.iter().cloned());
                world
            }));
            worlds
        };
        worlds = worlds.iter().flat_map(with).collect();
    }
    assert_eq!(worlds.len(), 3 * 4 * 4);
    for text in small_expressions(&atoms) {
        let Some(cnf) = normal(&vocabulary, Scope::Facts, &text) else { continue };
        let tree = tree(&vocabulary, Scope::Facts, &text);
        for facts in &worlds {
            let expected = evaluate(&vocabulary, &tree, facts) == Some(true);
            assert_eq!(holds(facts, &cnf), expected, "{text}\n{facts:?}");
        }
    }
}

/// Values for every attribute that box or clauses speak of, apart enough to tell them apart.
fn points(vocabulary: &Vocabulary, promises: &PromiseBox, tree: &Tree) -> Option<Vec<Facts>> {
    let mut ids: BTreeSet<AttributeId> = promises.keys().copied().collect();
    let mut sets: Vec<(AttributeId, Set)> = promises.clone().into_iter().collect();
    let mut open = vec![tree];
    while let Some(tree) = open.pop() {
        match tree {
            Tree::Test(test) => {
                let declared = &vocabulary.declared()[test.declared];
                ids.extend(declared.ids.clone().map(AttributeId));
                // The atoms of one test by itself; where it can never hold it tells nothing apart.
                for negated in [false, true] {
                    let test = Tree::Test(test.clone());
                    let test = if negated { Tree::Not(Box::new(test)) } else { test };
                    let cnf = caio::contract::normal::convert(vocabulary, Scope::Facts, &test);
                    for clause in cnf.into_iter().flat_map(|cnf| cnf.clauses) {
                        sets.extend(clause.atoms.into_iter().map(|a| (a.attribute, a.set)));
                    }
                }
            }
            Tree::Not(below) => open.push(below),
            Tree::All(below) | Tree::Any(below) => open.extend(below),
        }
    }
    let choices: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let domain = &vocabulary.attribute(id).unwrap().domain;
            let own = sets.iter().filter(|(of, _)| *of == id).map(|(_, set)| set);
            (id, representatives(domain, own))
        })
        .collect();
    product(&choices, 20_000)
}

/// A suffix is read from the text itself by the reference and from the reverse by the logic, so
/// points that choose both freely would contradict themselves.
fn free_of_reverses(declared: &Declared) -> bool {
    declared.kind != Kind::Text
}

#[test]
fn the_linear_rule_is_entailment_over_every_point_of_the_box() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0002);
    let (mut judged, mut entailed) = (0, 0);
    while judged < 4_000 {
        let text = expression(&mut rng, &vocabulary, Side::Promise, free_of_reverses);
        let Some(cnf) = normal(&vocabulary, Scope::Promises, &text) else { continue };
        let tree = tree(&vocabulary, Scope::Promises, &text);
        let named =
            |declared: &Declared| text.contains(&declared.name) && free_of_reverses(declared);
        let promises = promises(&mut rng, &vocabulary, named);
        let Some(points) = points(&vocabulary, &promises, &tree) else { continue };
        let expected = entails_over(&vocabulary, &promises, &tree, &points);
        assert_eq!(entails(&promises, &cnf), expected, "{text}\n{promises:?}\n{cnf:?}");
        judged += 1;
        entailed += usize::from(expected);
    }
    assert!(entailed > judged / 20 && entailed < judged, "{entailed} of {judged}");
}

#[test]
fn every_small_box_entails_exactly_what_all_its_points_satisfy() {
    let vocabulary = world();
    let atoms = ["pbool", "penum == \"a\"", "penum in [\"b\", \"c\"]", "prank <= \"mid\""];
    let id = |name: &str| vocabulary.find(name).unwrap().id();
    let subsets = |name: &str, size: i64| -> Vec<Option<Set>> {
        let sets = (1..1_u32 << size).map(|bits| {
            let members = (0..size).filter(|rank| bits & (1 << rank) != 0).map(|r| (r, r));
            Set::Numbers(Numbers::new(members))
        });
        assert!(vocabulary.find(name).is_some());
        std::iter::once(None).chain(sets.map(Some)).collect()
    };
    let numbers = |size: i64| (0..size).map(Value::Number).collect::<Vec<_>>();
    let choices = [(id("pbool"), numbers(2)), (id("penum"), numbers(3)), (id("prank"), numbers(4))];
    let points = product(&choices, 24).unwrap();
    let mut boxes = Vec::new();
    for a in subsets("pbool", 2) {
        for b in subsets("penum", 3) {
            for c in subsets("prank", 4) {
                let sets = [(id("pbool"), a.clone()), (id("penum"), b.clone()), (id("prank"), c)];
                let known = sets.into_iter().filter_map(|(id, set)| Some((id, set?)));
                boxes.push(known.collect::<PromiseBox>());
            }
        }
    }
    for text in small_expressions(&atoms).iter().step_by(3) {
        let Some(cnf) = normal(&vocabulary, Scope::Promises, text) else { continue };
        let tree = tree(&vocabulary, Scope::Promises, text);
        for promises in &boxes {
            let expected = entails_over(&vocabulary, promises, &tree, &points);
            assert_eq!(entails(promises, &cnf), expected, "{text}\n{promises:?}");
        }
    }
}

#[test]
fn promises_about_texts_entail_nothing_that_some_behaviour_breaks() {
    let vocabulary = world();
    let declared = vocabulary.find("ptext").unwrap();
    let behaviours: Vec<Facts> =
        ["", "a", "b", "é", "ab", "ba", "abc", "a\"b", "aa", "bé", "\u{0}"]
            .into_iter()
            .flat_map(|head| ["", "a", "b", "c", "é", "\"b"].map(|tail| format!("{head}{tail}")))
            .map(|text| declared.facts(&text).unwrap().into_iter().collect())
            .collect();
    let mut rng = Rng::with_seed(0x0c41_0003);
    let only = |declared: &Declared| declared.name == "ptext";
    let mut entailed = 0;
    for _ in 0..4_000 {
        let text = expression(&mut rng, &vocabulary, Side::Promise, only);
        let Some(cnf) = normal(&vocabulary, Scope::Promises, &text) else { continue };
        let tree = tree(&vocabulary, Scope::Promises, &text);
        let promises = promises(&mut rng, &vocabulary, only);
        if entails(&promises, &cnf) {
            entailed += 1;
            for point in
                behaviours.iter().filter(|p| caio::contract::reference::inside(&promises, p))
            {
                assert_eq!(evaluate(&vocabulary, &tree, point), Some(true), "{text}\n{promises:?}");
            }
        }
    }
    assert!(entailed > 100, "{entailed}");
}

#[test]
fn an_expression_and_its_negation_never_hold_together() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0004);
    let mut judged = 0;
    for _ in 0..4_000 {
        let text = expression(&mut rng, &vocabulary, Side::Request, |_| true);
        let negation = format!("!({text})");
        let pair = [&text, &negation].map(|text| normal(&vocabulary, Scope::Facts, text));
        let [Some(yes), Some(no)] = pair else { continue };
        let unknown = facts(&mut rng, &vocabulary, 3);
        assert!(!(holds(&unknown, &yes) && holds(&unknown, &no)), "{text}\n{unknown:?}");
        let known = facts(&mut rng, &vocabulary, 0);
        assert!(holds(&known, &yes) != holds(&known, &no), "{text}\n{known:?}");
        judged += 1;
    }
    assert!(judged > 2_000, "{judged}");
}

#[test]
fn a_negated_normal_form_holds_exactly_where_the_expression_is_known_to_fail() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0011);
    let (mut judged, mut unknown, mut refused) = (0, 0, 0);
    for _ in 0..4_000 {
        let text = expression(&mut rng, &vocabulary, Side::Request, |_| true);
        let Ok(negated) = parse_negated(&vocabulary, Scope::Facts, &text) else {
            refused += 1;
            continue;
        };
        let tree = tree(&vocabulary, Scope::Facts, &text);
        for missing in [0, 3, 6] {
            let facts = facts(&mut rng, &vocabulary, missing);
            let truth = evaluate(&vocabulary, &tree, &facts);
            assert_eq!(holds(&facts, &negated), truth == Some(false), "{text}\n{facts:?}");
            unknown += u32::from(truth.is_none());
            judged += 1;
        }
    }
    assert!(judged > 6_000 && unknown > 500 && refused > 0, "{judged} {unknown} {refused}");
}

#[test]
fn losing_a_fact_or_gaining_a_clause_never_makes_a_demand_hold() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0005);
    let mut narrowed = 0;
    for _ in 0..4_000 {
        let [one, two] =
            [(); 2].map(|()| expression(&mut rng, &vocabulary, Side::Request, |_| true));
        let Some(cnf) = normal(&vocabulary, Scope::Facts, &one) else { continue };
        let facts = facts(&mut rng, &vocabulary, 6);
        let mut fewer = facts.clone();
        let lost: Vec<_> = facts.keys().filter(|_| rng.u8(..4) == 0).copied().collect();
        fewer.retain(|id, _| !lost.contains(id));
        assert!(holds(&facts, &cnf) || !holds(&fewer, &cnf), "{one}\n{facts:?}\n{fewer:?}");
        narrowed += usize::from(holds(&facts, &cnf) && !holds(&fewer, &cnf));
        if let Some(both) = normal(&vocabulary, Scope::Facts, &format!("({one}) && ({two})")) {
            assert!(holds(&facts, &cnf) || !holds(&facts, &both), "{one} && {two}\n{facts:?}");
        }
    }
    assert!(narrowed > 100, "{narrowed}");
}

/// Random modes whose boxes do not contradict each other, as an admitted contract has them.
fn modes(rng: &mut Rng, vocabulary: &Vocabulary) -> Vec<Mode> {
    let mut modes = Vec::new();
    let mut met = PromiseBox::new();
    for _ in 0..rng.usize(1..6) {
        let when = match rng.bool() {
            true => Cnf::default(),
            false => {
                let text = expression(rng, vocabulary, Side::Request, |_| true);
                match normal(vocabulary, Scope::Facts, &text) {
                    Some(cnf) => cnf,
                    None => continue,
                }
            }
        };
        let then = promises(rng, vocabulary, |_| true);
        let mut narrower = met.clone();
        if conjoin(&mut narrower, &then).is_ok() {
            met = narrower;
            modes.push(Mode { when, then });
        }
    }
    modes
}

#[test]
fn dropping_a_promise_or_a_fact_or_adding_a_requirement_never_entails_more() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0006);
    let mut narrowed = 0;
    for _ in 0..4_000 {
        let mut modes = modes(&mut rng, &vocabulary);
        let facts = facts(&mut rng, &vocabulary, 6);
        let [one, two] =
            [(); 2].map(|()| expression(&mut rng, &vocabulary, Side::Promise, |_| true));
        let Some(cnf) = normal(&vocabulary, Scope::Promises, &one) else { continue };
        let before = effective(&modes, &facts).unwrap();
        if let Some(both) = normal(&vocabulary, Scope::Promises, &format!("({one}) && ({two})")) {
            assert!(entails(&before, &cnf) || !entails(&before, &both), "{one} && {two}");
        }
        let mut fewer = facts.clone();
        fewer.retain(|_, _| rng.u8(..4) != 0);
        assert_eq!(active(&modes, &fewer) & !active(&modes, &facts), 0);
        let with_fewer = effective(&modes, &fewer).unwrap();
        assert!(entails(&before, &cnf) || !entails(&with_fewer, &cnf), "{one}");
        if !modes.is_empty() {
            let index = rng.usize(..modes.len());
            let mode = &mut modes[index];
            if rng.bool() {
                mode.then.retain(|_, _| rng.bool());
            } else {
                modes.remove(index);
            }
        }
        let after = effective(&modes, &facts).unwrap();
        assert!(entails(&before, &cnf) || !entails(&after, &cnf), "{one}");
        narrowed += usize::from(entails(&before, &cnf) && !entails(&after, &cnf));
    }
    assert!(narrowed > 20, "{narrowed}");
}

#[test]
fn a_tighter_box_keeps_every_entailment() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0007);
    let mut kept = 0;
    for _ in 0..20_000 {
        let text = expression(&mut rng, &vocabulary, Side::Promise, |_| true);
        let Some(cnf) = normal(&vocabulary, Scope::Promises, &text) else { continue };
        let old = promises(&mut rng, &vocabulary, |_| true);
        let mut new = old.clone();
        if conjoin(&mut new, &promises(&mut rng, &vocabulary, |_| true)).is_ok()
            && entails(&old, &cnf)
        {
            kept += 1;
            assert!(entails(&new, &cnf), "{text}\n{old:?}\n{new:?}");
        }
    }
    assert!(kept > 100, "{kept}");
}

#[test]
fn contradicting_modes_have_no_effective_box_and_an_empty_set_entails_nothing() {
    let vocabulary = world();
    let id = vocabulary.find("pbool").unwrap().id();
    let mode = |value: i64| Mode {
        when: Cnf::default(),
        then: PromiseBox::from([(id, Set::Numbers(Numbers::new([(value, value)])))]),
    };
    assert_eq!(meet(&[mode(0), mode(1)], 0b11), Err(id));
    assert_eq!(meet(&[mode(0), mode(1)], 0b10).unwrap(), mode(1).then);
    let empty = PromiseBox::from([(id, Set::Numbers(Numbers::new([])))]);
    let cnf = parse(&vocabulary, Scope::Promises, "pbool").unwrap();
    assert!(!entails_clause(&empty, &cnf.clauses[0]));
    assert!(!entails(&PromiseBox::new(), &cnf));
}

/// A shown range of versions excludes pre-releases beside the clause that does so already, so the
/// text parses to another form of the same meaning.
#[test]
fn the_shown_text_of_a_version_means_the_same() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0009);
    let mut judged = 0;
    for _ in 0..1_000 {
        let only = |declared: &Declared| matches!(declared.name.as_str(), "qver" | "qbool");
        let text = expression(&mut rng, &vocabulary, Side::Request, only);
        let Some(cnf) = normal(&vocabulary, Scope::Facts, &text) else { continue };
        let shown = vocabulary.show_cnf(&cnf);
        let again = parse(&vocabulary, Scope::Facts, &shown)
            .unwrap_or_else(|complaints| panic!("{text}\n{shown}\n{complaints:?}"));
        for _ in 0..8 {
            let facts = facts(&mut rng, &vocabulary, 4);
            assert_eq!(holds(&facts, &again), holds(&facts, &cnf), "{text}\n{shown}\n{facts:?}");
            judged += 1;
        }
    }
    assert!(judged > 4_000, "{judged}");
}

#[test]
fn the_shown_text_of_a_normal_form_parses_back_to_it() {
    let vocabulary = world();
    let mut rng = Rng::with_seed(0x0c41_0008);
    let mut judged = 0;
    for round in 0..8_000 {
        let (scope, side) = match round % 2 {
            0 => (Scope::Facts, Side::Request),
            _ => (Scope::Promises, Side::Promise),
        };
        let text = expression(&mut rng, &vocabulary, side, |d| d.kind != Kind::Version);
        let Some(cnf) = normal(&vocabulary, scope, &text) else { continue };
        let shown = vocabulary.show_cnf(&cnf);
        if shown == "always" {
            assert!(cnf.clauses.is_empty());
            continue;
        }
        // Only what the limits refuse may be shown in words that do not parse.
        let again = match parse(&vocabulary, scope, &shown) {
            Ok(again) => again,
            Err(complaints) => panic!("{text}\n{shown}\n{complaints:?}"),
        };
        assert_eq!(again, cnf, "{text}\n{shown}");
        judged += 1;
    }
    assert!(judged > 5_000, "{judged}");
}

//! Our solver beside one that is not ours: z3, as Debian has it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets the unexpected fails"
)]

#[path = "laws/prover/solver.rs"]
mod solver;

use caio::cli::second::Heard;
use caio::prover::settle;
use fastrand::Rng;
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs z3: `.ci/run` installs it and asks for this"]
fn four_thousand_random_problems_have_the_verdicts_of_z3() {
    let mut rng = Rng::with_seed(23);
    let heard = Heard::default();
    for _ in 0..4000 {
        let (variables, clauses, width) = (rng.usize(1..9), rng.usize(1..40), rng.usize(1..5));
        let problem = solver::problem(&mut rng, variables, clauses, width);
        heard.hear(&problem, &settle(&problem, 1_000_000));
    }
    let compared = heard.ask("z3 -in").unwrap();
    assert_eq!(compared.disagreed, Vec::<String>::new());
    assert_eq!((compared.agreed, compared.open), (4000, 0));
}

#[test]
#[ignore = "needs z3: `.ci/run` installs it and asks for this"]
fn what_is_proved_of_the_shipped_landscapes_z3_says_too() {
    for file in ["config/reference.toml", "config/example/caio.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let output = Command::new(env!("CARGO_BIN_EXE_caio"))
            .args(["prove", "--smt", "z3 -in", "-c"])
            .arg(path)
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("a second solver agrees on all "), "{said}");
    }
}

/// A second solver that lies, or dies, is told of.
#[test]
fn a_second_solver_that_says_otherwise_is_noticed() {
    let mut rng = Rng::with_seed(29);
    let heard = Heard::default();
    for _ in 0..20 {
        let problem = solver::problem(&mut rng, 3, 4, 3);
        heard.hear(&problem, &settle(&problem, 10_000));
    }
    let scratch = std::env::temp_dir().join(format!("caio-smt-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).unwrap();
    let says = |name: &str, text: &str| {
        let file = scratch.join(name);
        std::fs::write(&file, text).unwrap();
        format!("bash {}", file.display())
    };
    // One `sat` a question: whatever is impossible is a disagreement.
    let always =
        says("sat", "while read -r line; do case $line in *check-sat*) echo sat;; esac; done");
    let compared = heard.ask(&always).unwrap();
    assert!(!compared.disagreed.is_empty() && compared.agreed > 0, "{compared:?}");
    assert_eq!(compared.agreed + compared.disagreed.len(), 20);
    let early = says("early", "read -r line; echo sat; cat > /dev/null");
    assert!(heard.ask(&early).is_err());
    let strange = says("strange", "cat > /dev/null & while true; do echo 'error'; done");
    assert!(heard.ask(&strange).is_err());
    assert!(heard.ask("/nonexistent/solver -in").is_err());
    std::fs::remove_dir_all(&scratch).unwrap();
}

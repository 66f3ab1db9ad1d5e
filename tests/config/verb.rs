//! `caio check` as a function: exit codes and words.

use caio::cli::check::{FINE, USAGE, WRONG, run};
use caio::cli::style::{Output, Paint};
use std::path::Path;

fn check(args: &[&str], paint: Paint) -> (u8, String, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(
        &args,
        &mut Output { writer: &mut out, paint },
        &mut Output { writer: &mut err, paint },
    );
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn root(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

#[test]
fn a_sound_set_is_summed_up() {
    for name in ["-c", "--config"] {
        let (code, out, err) = check(&[name, &root("config/example/caio.toml")], Paint::Plain);
        assert_eq!((code, err.as_str()), (FINE, ""));
        assert!(out.contains("all is well"), "{out}");
        assert!(
            out.contains("4 services, 4 offers, 5 endpoints, 1 route, 2 requirements"),
            "{out}"
        );
        assert!(!out.contains('\u{1b}'));
    }
    let (_, out, _) =
        check(&[&format!("--config={}", root("config/example/caio.toml"))], Paint::Colours);
    assert!(out.contains("\u{1b}[32mall is well\u{1b}[0m"), "{out}");
}

#[test]
fn a_wrong_set_is_reported_with_exit_code_one() {
    // A vocabulary is no process file: it lacks what one has, and has what one lacks.
    let path = root("config/vocabulary.toml");
    let (code, out, err) = check(&["-c", &path], Paint::Plain);
    assert_eq!((code, out.as_str()), (WRONG, ""));
    assert!(err.contains(&format!("{path}:1:1: `config` is missing; add `config = …`")), "{err}");
    assert!(err.contains("unknown key `attributes`"), "{err}");
    assert!(err.lines().last().unwrap().ends_with(" in 1 file"), "{err}");
    let (code, _, err) = check(&["-c", "/nonexistent/caio.toml"], Paint::Plain);
    assert_eq!(code, WRONG);
    assert!(err.contains("there is no `/nonexistent/caio.toml`"), "{err}");
    let (code, _, err) = check(&["-c", &root("config")], Paint::Plain);
    assert_eq!(code, WRONG);
    assert!(err.contains("it is not a regular file"), "{err}");
}

#[test]
fn a_wrong_command_line_has_exit_code_two() {
    let cases: [&[&str]; 6] =
        [&[], &["-c"], &["--config="], &["-x"], &["caio.toml"], &["-c", "a", "-c", "b"]];
    for args in cases {
        let (code, out, err) = check(args, Paint::Plain);
        assert_eq!((code, out.as_str()), (USAGE, ""), "{args:?}");
        assert!(err.starts_with("caio check: ") && err.contains("--help"), "{err}");
    }
}

#[test]
fn help_is_an_answer() {
    for args in [&["--help"], &["-h"]] {
        let (code, out, err) = check(args, Paint::Plain);
        assert_eq!((code, err.as_str()), (FINE, ""));
        assert!(out.contains("Usage: caio check -c FILE"));
    }
}

//! `prove`, `diff` and `upgrade` as functions: exit codes and words.

use caio::cli::dispatch;
use caio::cli::style::Output;
use std::path::PathBuf;

/// A directory of files of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("caio-prover-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let vocabulary = include_str!("../../../config/vocabulary.toml");
        for (name, text) in files.iter().chain(&[("vocabulary.toml", vocabulary)]) {
            std::fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Code, and what is written to either stream.
fn run(args: &[&str]) -> (u8, String) {
    let args: Vec<String> = args.iter().map(|text| (*text).to_owned()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = dispatch(&args, &mut Output::plain(&mut out), &mut Output::plain(&mut err));
    out.extend(err);
    (code, String::from_utf8(out).unwrap())
}

fn contract(demand: &str, promise: &str) -> String {
    format!(
        "contract = \"caio/1\"\nservice = \"embed\"\nversion = \"1.0.0\"\n[[offers]]\n\
         capability = \"embed.text/1\"\ninterface = {{ http = [\"POST /v1/embed\"] }}\n\
         demands = {{ size = '{demand}' }}\n[[offers.promises]]\n{promise}\n"
    )
}

const PROCESS: &str = "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[[services]]\n\
                       contract = \"old.toml\"\nendpoints = [\"127.0.0.1:9001\"]\n\
                       [[callers]]\nid = \"team/a\"\nnetworks = [\"10.0.0.0/8\"]\n\
                       [[requirements]]\nid = \"quick\"\ncaller = \"team/\"\n\
                       needs = ['residency.within(\"eu\")']\n";

#[test]
fn an_upgrade_refines_or_its_breaches_and_losers_are_named() {
    let old = contract("request.bytes <= 1MiB", "residency = 'within \"eu\"'");
    let wider = contract("request.bytes <= 2MiB", "residency = \"eu-west\"");
    let narrower = contract("request.bytes <= 1KiB", "residency = 'in [\"eu-west\", \"us-east\"]'");
    let folder = Folder::new(
        "upgrade",
        &[
            ("caio.toml", PROCESS),
            ("old.toml", &old),
            ("wider.toml", &wider),
            ("narrower.toml", &narrower),
        ],
    );
    let upgrade = |old: &str, new: &str| {
        let (config, old, new) = (folder.path("caio.toml"), folder.path(old), folder.path(new));
        run(&["upgrade", "-c", &config, &old, &new])
    };
    let (code, said) = upgrade("old.toml", "wider.toml");
    assert!(code == 0 && said.contains("refines"), "{said}");
    let (code, said) = upgrade("old.toml", "narrower.toml");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("demand `size` is new or stricter: request.bytes <= 1KiB"), "{said}");
    assert!(said.contains("promise is gone or weaker: residency.within(\"eu\")"), "{said}");
    assert!(said.contains("a request with request.bytes == 1025B"), "{said}");
    // Everyone loses it for what is larger, and whoever requires Europe altogether.
    assert!(
        said.contains("route `POST /v1/embed`, callers team/a: request.bytes <= 1MiB"),
        "{said}"
    );
    let of_all = "callers anonymous: request.bytes >= 1025B && request.bytes <= 1MiB";
    assert!(said.contains(of_all), "{said}");
    let vocabulary = folder.path("vocabulary.toml");
    let (old, new) = (folder.path("old.toml"), folder.path("narrower.toml"));
    let (code, said) = run(&["upgrade", "--vocabulary", &vocabulary, &old, &new]);
    assert!(code == 1 && !said.contains("who loses it"), "{said}");
    assert_eq!(run(&["upgrade", &old, &new]).0, 2);
    assert_eq!(run(&["upgrade", "-c", &folder.path("caio.toml"), &old]).0, 2);
}

#[test]
fn an_upgrade_is_of_the_documents_that_the_contracts_name() {
    // The SHA-256 of `{"openapi":"3.0.0","paths":{}}`, by coreutils.
    let digest = "4a3621b193b11d77f70ce4d4c71bfeeaeee678d73739a6b714901e165986e37a";
    let http = "{ http = [\"POST /v1/embed\"]";
    let named = format!("{http}, openapi = \"sha256:{digest}\"");
    let old =
        contract("request.bytes <= 1MiB", "residency = 'within \"eu\"'").replace(http, &named);
    let document = r#"{"openapi":"3.0.0","paths":{}}"#;
    let files = [("old.toml", &*old), ("a.json", document), ("b.json", r#"{"openapi":"3.0.1"}"#)];
    let folder = Folder::new("beside", &files);
    let (vocabulary, old) = (folder.path("vocabulary.toml"), folder.path("old.toml"));
    let upgrade = |before: &str, after: &str| {
        let (before, after) = (folder.path(before), folder.path(after));
        let documents = ["--openapi", &before, &after];
        let contracts = ["upgrade", "--vocabulary", &vocabulary, &old, &old];
        run(&[&contracts[..], &documents[..]].concat())
    };
    let (code, said) = upgrade("a.json", "a.json");
    assert!(code == 0 && said.contains("refines"), "{said}");
    let (code, said) = upgrade("a.json", "b.json");
    assert!(code == 1 && said.contains("b.json` is not the `openapi`"), "{said}");
    assert!(said.contains("old.toml:6:"), "{said}");
}

#[test]
fn a_difference_is_gained_lost_or_moved_and_new_access_can_be_refused() {
    let old = contract("request.bytes <= 1MiB", "residency = 'within \"eu\"'");
    let wider = contract("request.bytes <= 2MiB", "residency = 'within \"eu\"'");
    let after = PROCESS.replace("old.toml", "wider.toml");
    let other = "[[services]]\nendpoints = [\"127.0.0.1:9002\"]\n\
                 contract = { service = \"chat\", version = \"1.0.0\", offers = [{ capability = \
                 \"chat/1\", interface = { http = [\"POST /v1/chat\"] } }] }\n";
    let route = |capability: &str| {
        format!("[[routes]]\nid = \"r\"\noperation = \"GET /x\"\ncapability = \"{capability}\"\n")
    };
    let before = format!("{PROCESS}{other}{}", route("chat/1"));
    let moved = format!("{PROCESS}{other}{}", route("embed.text/1"));
    let folder = Folder::new(
        "diff",
        &[
            ("caio.toml", PROCESS),
            ("after.toml", &after),
            ("before.toml", &before),
            ("moved.toml", &moved),
            ("old.toml", &old),
            ("wider.toml", &wider),
        ],
    );
    let diff = |flags: &[&str], old: &str, new: &str| {
        let (old, new) = (folder.path(old), folder.path(new));
        run(&[&["diff"], flags, &[&old, &new]].concat())
    };
    let (code, said) = diff(&["--no-new-access"], "caio.toml", "caio.toml");
    assert!(code == 0 && said.contains("the same services as before"), "{said}");
    let (code, said) = diff(&[], "caio.toml", "after.toml");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("gained service `embed` of `embed.text/1`: POST /v1/embed"), "{said}");
    assert!(said.contains("callers: anonymous, team/a"), "{said}");
    // One byte more than a mebibyte up to two.
    let due = "where request.bytes >= 1048577B && request.bytes <= 2MiB";
    assert!(said.contains(due), "{said}");
    assert!(said.contains("1 gained, 0 lost, 0 moved"), "{said}");
    assert_eq!(diff(&["--no-new-access"], "caio.toml", "after.toml").0, 1);
    let (code, said) = diff(&["--no-new-access"], "after.toml", "caio.toml");
    assert!(code == 0 && said.contains("0 gained, 1 lost"), "{said}");
    let (_, said) = diff(&[], "before.toml", "moved.toml");
    let due = "moved  GET /x: from `chat/1` (route `r`) to `embed.text/1` (route `r`)";
    assert!(said.contains(due), "{said}");
    assert!(said.contains("1 gained, 1 lost, 1 moved"), "{said}");
    assert_eq!(diff(&["--strict"], "caio.toml", "after.toml").0, 2);
    assert_eq!(run(&["diff", &folder.path("caio.toml")]).0, 2);
}

#[test]
fn what_is_proved_is_a_table_and_a_second_solver_is_heard() {
    let old = contract("request.bytes <= 1MiB", "residency = 'within \"eu\"'");
    let stated = "[[prove]]\nid = \"stays\"\nnever = '!service.residency.within(\"eu\")'\n";
    let folder =
        Folder::new("prove", &[("caio.toml", &format!("{PROCESS}{stated}")), ("old.toml", &old)]);
    let (code, said) = run(&["prove", "-c", &folder.path("caio.toml")]);
    assert_eq!(code, 0, "{said}");
    for row in ["promises", "demands", "offers", "routes", "stays"] {
        assert!(said.contains(&format!("holds   {row}")), "{said}");
    }
    // It says the same of everything, and so otherwise than we do.
    let script = folder.path("always.sh");
    let always = "while read -r line; do case $line in *check-sat*) echo sat;; esac; done";
    std::fs::write(&script, always).unwrap();
    let command = format!("bash {script}");
    let (code, said) = run(&["prove", "-c", &folder.path("caio.toml"), "--smt", &command]);
    assert!(code == 1 && said.contains("a second solver disagrees on 1"), "{said}");
    let (code, said) = run(&["prove", "-c", &folder.path("caio.toml"), "--smt", "/nonexistent"]);
    assert!(code == 1 && said.contains("cannot be started"), "{said}");
    assert_eq!(run(&["prove"]).0, 2);
}

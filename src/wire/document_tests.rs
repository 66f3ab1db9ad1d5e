use super::*;

fn read<T>(text: &str, read: impl FnOnce(&mut Table<'_>, &mut Faults) -> T) -> (T, Vec<String>) {
    let source = Source::new("f.toml", text);
    let mut faults = Faults::new();
    let document = Document::parse(&source, &mut faults).expect("valid TOML");
    let mut root = document.root();
    let value = read(&mut root, &mut faults);
    (value, faults.into_sorted().iter().map(ToString::to_string).collect())
}

#[test]
fn positions_count_characters_from_one() {
    let source = Source::new("f", "aé\n\nxyz");
    assert_eq!(source.position(0), (1, 1));
    assert_eq!(source.position(1), (1, 2));
    assert_eq!(source.position(2), (1, 2), "inside a character is that character");
    assert_eq!(source.position(3), (1, 3));
    assert_eq!(source.position(4), (2, 1));
    assert_eq!(source.position(5), (3, 1));
    assert_eq!(source.position(8), (3, 4));
    assert_eq!(source.position(99), (3, 4));
    assert_eq!(Source::new("f", "").position(0), (1, 1));
}

#[test]
fn bytes_that_are_not_text_are_refused_where_they_stand() {
    let fault = Source::from_bytes("f", b"a = 1\nb = \"\xC3\x28\"".to_vec()).unwrap_err();
    assert_eq!((fault.line, fault.column), (2, 6));
    let fault = Source::from_bytes("f", vec![b' '; DOCUMENT_BYTES_MAX + 1]).unwrap_err();
    assert!(fault.what.contains("bytes are more than"), "{fault}");
    assert!(Source::from_bytes("f", vec![b' '; DOCUMENT_BYTES_MAX]).is_ok());
}

#[test]
fn every_syntax_error_is_reported_at_once() {
    let source = Source::new("f.toml", "a = \nb = 1\nb = 2\nc = nope\nd = 1 2\ne = \"x\n");
    let mut faults = Faults::new();
    assert!(Document::parse(&source, &mut faults).is_none());
    let faults = faults.into_sorted();
    let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [1, 3, 4, 5, 6], "{faults:#?}");
}

#[test]
fn getters_read_what_they_name() {
    let text = "s = 'x'\ni = 3\nb = true\nd = \"250ms\"\nz = \"64KiB\"\nl = ['a', 'b']\n\
                t = { k = 1 }\n[[a]]\nn = 1\n[[a]]\nn = 2\n";
    let ((), faults) = read(text, |root, faults| {
        assert_eq!(root.required_string("s", faults).unwrap().value, "x");
        assert_eq!(root.integer("i", 0..=3, faults).unwrap().value, 3);
        assert!(root.boolean("b", faults).unwrap().value);
        assert_eq!(root.duration("d", faults).unwrap().value, 250_000_000);
        assert_eq!(root.size("z", faults).unwrap().value, 65_536);
        let texts: Vec<_> = root.strings("l", faults).iter().map(|text| text.value).collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(root.table("t", faults).unwrap().path(), "t");
        assert_eq!(root.tables("a", faults).len(), 2);
        assert!(root.string("absent", faults).is_none());
        root.clone().finish(faults);
    });
    assert_eq!(faults, [""; 0]);
}

#[test]
fn a_wrong_type_is_named_where_it_stands() {
    let text = "s = 1\ni = 'x'\nj = 9\nb = 0\nd = 5\nd2 = '5'\nz = 1.5\nl = ['a', 2]\n[t]\nk = 1\n";
    let ((), faults) = read(text, |root, faults| {
        assert!(root.string("s", faults).is_none());
        assert!(root.integer("i", 0..=3, faults).is_none());
        assert!(root.integer("j", 0..=3, faults).is_none());
        assert!(root.boolean("b", faults).is_none());
        assert!(root.duration("d", faults).is_none());
        assert!(root.duration("d2", faults).is_none());
        assert!(root.size("z", faults).is_none());
        assert_eq!(root.strings("l", faults).len(), 1);
        assert!(root.tables("t", faults).is_empty());
        assert!(root.required_string("absent", faults).is_none());
    });
    assert_eq!(
        faults,
        [
            "f.toml:1:1: `absent` is missing; add `absent = …`",
            "f.toml:1:5: `s` must be a string, not an integer",
            "f.toml:2:5: `i` must be an integer, not a string",
            "f.toml:3:5: `j` is 9; take 0 to 3",
            "f.toml:4:5: `b` must be `true` or `false`, not an integer",
            "f.toml:5:5: `d` must be a duration such as `\"5s\"`, not an integer",
            "f.toml:6:6: `5` is not a duration such as `\"5s\"`; \
             add a unit: one of ns, us, ms, s, m, h, d",
            "f.toml:7:5: `z` must be a size such as `\"64KiB\"`, not a float",
            "f.toml:8:11: `l` must be an array of strings, not an integer",
            "f.toml:9:1: `t` must be an array of tables, `[[t]]`, not a table; double the brackets",
        ]
    );
}

#[test]
fn unknown_keys_are_refused_with_the_nearest() {
    let text = "conect = 1\n[limits]\nhead = 1\nfunny = 2\n";
    let ((), faults) = read(text, |root, faults| {
        root.integer("connect", 0..=9, faults);
        let mut limits = root.table("limits", faults).unwrap();
        limits.integer("head", 0..=9, faults);
        limits.finish(faults);
        root.clone().finish(faults);
    });
    assert_eq!(
        faults,
        [
            "f.toml:1:1: unknown key `conect`; did you mean `connect`? known here: connect, limits",
            "f.toml:4:1: unknown key `funny` in `limits`; known here: head",
        ]
    );
}

#[test]
fn a_missing_key_points_at_its_table() {
    let ((), faults) = read("a = 1\n[[x]]\nb = 2\n[[x]]\n", |root, faults| {
        for mut table in root.tables("x", faults) {
            table.required_string("name", faults);
        }
    });
    assert_eq!(
        faults,
        [
            "f.toml:2:1: `name` is missing in `x`; add `name = …`",
            "f.toml:4:1: `name` is missing in `x`; add `name = …`",
        ]
    );
}

#[test]
fn free_tables_are_walked_in_the_order_of_writing() {
    let (keys, faults) = read("z = 1\n\"a b\" = 'x'\nm.n = true\nwhen = 'w'\n", |root, faults| {
        root.string("when", faults);
        let rest = root.rest();
        rest.iter().map(|(key, item)| format!("{}={}", key.value, item.kind())).collect::<Vec<_>>()
    });
    assert_eq!(keys, ["z=an integer", "a b=a string", "m=a table"]);
    assert_eq!(faults, [""; 0]);
}

/// Every way TOML has to write a string, with a mark `@` in the value: the place of the mark's byte
/// must be the place of the mark in the file.
#[test]
fn a_byte_inside_a_string_is_found_in_the_file() {
    let documents = [
        "k = \"abc@d\"",
        "k = 'a\\c@d'",
        "k = \"é\\t\\\"\\u00e9\\U0001F600\\x41 @d\"",
        "k = '''@x'''",
        "k = '''\na\nb @x'''",
        "k = '''\r\na\r\nb @x'''",
        "k = \"\"\"\nline\n  \\\n   more @\"\"\"",
        "k = \"\"\"a \\\r\n\n  \\  \n b\\u00e9 @ \"quoted\" \"\"\"",
        "k = \"@\"",
        "k = \"\"\"\\\n@\"\"\"",
        "k = ['x', \"\\\\@\"]",
    ];
    for document in documents {
        let source = Source::new("f", document);
        let mut faults = Faults::new();
        let parsed = Document::parse(&source, &mut faults).expect(document);
        let text = match parsed.root().item("k") {
            Some(Item::Text(text)) => text,
            Some(Item::Array(array)) => match &array.value[1] {
                Item::Text(text) => *text,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let offset = text.value.find('@').expect(document);
        let expected = source.position(document.find('@').unwrap());
        assert_eq!(text.place_inside(offset).position(), expected, "{document:?}");
        assert_eq!(text.place_inside(offset + 999).position(), text.place.position());
    }
}

#[test]
fn the_end_of_a_string_has_a_place_too() {
    let ((), _) = read("key = 'ab'", |root, faults| {
        let text = root.string("key", faults).unwrap();
        assert_eq!(text.place_inside(2).position(), (1, 10));
        assert_eq!(text.place.raw(), "'ab'");
    });
}

#[test]
fn depth_and_size_are_bounded() {
    let mut faults = Faults::new();
    let deep = Source::new("f", format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000)));
    assert!(Document::parse(&deep, &mut faults).is_none());
    let dotted = Source::new("f", format!("{}x = 1", "a.".repeat(10_000)));
    assert!(Document::parse(&dotted, &mut faults).is_none());
    let many = Source::new("f", "[[a]]\n".repeat(TABLES_MAX + 1));
    assert!(Document::parse(&many, &mut faults).is_none());
    assert!(faults.count() >= 3);
}

#[test]
fn random_mutations_never_panic_and_always_have_a_place() {
    let mut random = fastrand::Rng::with_seed(0xCA10);
    let seed =
        "a = 'x'\nb = [1, \"\\u00e9\"]\n[c.d]\ne = \"\"\"\nm \\\n n\"\"\"\n[[f]]\ng = {h = 1.5}\n";
    let alphabet: Vec<char> = "a='\"[]{}.\\\n\r #é1uU+-\t\u{0}".chars().collect();
    for _ in 0..20_000 {
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(0..text.len());
            match random.u8(0..3) {
                0 => text[at] = alphabet[random.usize(0..alphabet.len())],
                1 => text.insert(at, alphabet[random.usize(0..alphabet.len())]),
                _ => drop(text.remove(at)),
            }
        }
        let source = Source::new("f", text.iter().collect::<String>());
        let mut faults = Faults::new();
        if let Some(document) = Document::parse(&source, &mut faults) {
            for (key, item) in document.root().entries() {
                assert!(key.place.position().0 >= 1);
                if let Item::Text(text) = item {
                    for offset in 0..=text.value.len() {
                        let (line, _) = text.place_inside(offset).position();
                        assert!(line >= text.place.position().0);
                    }
                }
            }
            document.root().finish(&mut faults);
        }
        for fault in faults.into_sorted() {
            assert!(fault.line >= 1 && fault.column >= 1, "{fault}");
        }
    }
}

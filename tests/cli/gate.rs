//! What keeps a stranger's package out before anything of it runs: the gate, and the process that compiles.

use std::fs;

use portcullis::{Compiler, Engine};

use crate::support::{Ended, OPEN_MANIFEST, component, hostile, package, project, run, spec};

/// A core module that a rule could be, with more in it.
fn module_with(more: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "portcullis:detection/rule@1.0.0#evaluate") (param i32 i32) (result i32) i32.const 16)
            {more})"#
    )
}

/// A whole component that our world would take, with something more in its core module, or in itself.
fn whole_with(in_module: &str, in_component: &str) -> Vec<u8> {
    let path = project("fixtures/hostile/second-memory.wat");
    let text = fs::read_to_string(path).expect("the fixture");
    let hidden = "  (core module $hidden (memory (export \"memory\") 100))\n";
    let start = "  (core instance (instantiate $hidden))\n";
    let memory = "(memory (export \"memory\") 1)";
    assert!(text.contains(hidden) && text.contains(start) && text.contains(memory));
    let text = text.replace(hidden, "").replace(start, in_component);
    wat::parse_str(text.replace(memory, &format!("{memory} {in_module}"))).expect("the text is right")
}

/// What the command says of a package, without the file's name.
fn said(bytes: &[u8], config: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (file, toml) = (path("rule.wasm"), path("portcullis.toml"));
    fs::write(&file, bytes).expect("written");
    fs::write(&toml, config).expect("written");
    // On a busy machine, what compiles may not get its CPU time.
    let run = |args: &[&str]| loop {
        let ended = run(args);
        if !ended.stderr.contains("cannot be compiled now") {
            break ended;
        }
    };
    let Ended { code, stdout, stderr } = run(&["run", "--rules", &file, "--config", &toml]);
    let inspected = run(&["inspect", &file, "--config", &toml]);
    assert_eq!(inspected.code, code, "{}", inspected.stderr);
    if code == Some(0) {
        return "runs".to_owned();
    }
    assert_eq!((code, &*stdout), (Some(3), ""), "{stderr}");
    assert_eq!(inspected.stderr, stderr);
    stderr.strip_prefix(&format!("portcullis: {file}: ")).expect("the file is named").trim_end().to_owned()
}

fn rule(component: &[u8]) -> Vec<u8> {
    package(component, &spec("A.Rule"), OPEN_MANIFEST)
}

#[test]
fn a_package_that_is_too_large_is_refused_with_the_limit() {
    let refusal = |bytes: &[u8]| said(bytes, "").replace("not a rule's component: it has ", "");
    let mut large = rule(&component(&module_with("")));
    assert_eq!(said(&large, ""), "runs");
    large.resize((1 << 20) + 1, 0);
    assert_eq!(refusal(&large), "1048577 bytes; the limit is 1048576 (package in the config's limits)");
    let long = module_with(&format!("(func {})", "nop ".repeat(70_000)));
    assert_eq!(
        refusal(&rule(&component(&long))),
        "70002 bytes in one function; the limit is 65536 (function-size in the config's limits)"
    );
    let many = module_with(&"(func)".repeat(5_000));
    assert_eq!(
        refusal(&rule(&component(&many))),
        "5002 functions; the limit is 5000 (functions in the config's limits)"
    );
    let locals = module_with(&format!("(func (local {}))", "i32 ".repeat(1_001)));
    assert_eq!(
        refusal(&rule(&component(&locals))),
        "1001 local variables in one function; the limit is 1000 (locals in the config's limits)"
    );
    let parameters = module_with(&format!("(func (param {}))", "i32 ".repeat(101)));
    assert_eq!(refusal(&rule(&component(&parameters))), "101 parameters or results of one function; the limit is 100");
    let types: String = (0..10_000).map(|n| format!("(type (func {}))", "(param i64)".repeat(n % 90))).collect();
    assert!(
        refusal(&rule(&component(&module_with(&types)))).ends_with(" types, imports and exports; the limit is 10000")
    );
    let modules = whole_with("", &"(core module)".repeat(16));
    assert_eq!(refusal(&rule(&modules)), "17 core modules; the limit is 16");
    let components = whole_with("", &"(component)".repeat(16));
    assert_eq!(refusal(&rule(&components)), "17 nested components; the limit is 16");
    // Each level starts the one within it twice: 2^15 instances, of which only 15 * 2 are written down.
    let nested = (0..15).fold("(component $c)".to_owned(), |inner, _| {
        format!("(component $c {inner} (instance (instantiate $c)) (instance (instantiate $c)))")
    });
    assert_eq!(refusal(&rule(&whole_with("", &nested))), "17 instances; the limit is 16");
}

#[test]
fn the_limits_of_packages_can_be_raised() {
    let many = rule(&component(&module_with(&"(func)".repeat(5_000))));
    assert_eq!(said(&many, "[limits]\nfunctions = 6000"), "runs");
    let mut large = rule(&component(&module_with("")));
    wasm_encoder::ComponentSection::append_to_component(
        &wasm_encoder::CustomSection { name: "more".into(), data: vec![0; 2 << 20].into() },
        &mut large,
    );
    assert_eq!(said(&large, "[limits]\npackage = \"3MiB\""), "runs");
    assert_eq!(
        said(&hostile("recurses"), "[limits]\nstack = \"2MiB\""),
        "runs",
        "what the child compiled fits any stack"
    );
}

/// Every proposal beyond what compilers emit for `wasm32-unknown-unknown`.
#[test]
fn the_gate_refuses_proposals_that_the_engine_does_not_support() {
    for (feature, text, message) in [
        ("multi-memory", "(memory 1)", "multiple memories"),
        ("memory64", "(func (drop (i64.const 1))) (table i64 1 funcref)", "memory64 must be enabled"),
        ("threads", "(func (atomic.fence))", "threads support is not enabled"),
        ("simd", "(func (drop (v128.const i64x2 0 0)))", "SIMD support is not enabled"),
        (
            "relaxed-simd",
            "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
            "SIMD support is not enabled",
        ),
        ("tail-call", "(func $f (return_call $f))", "tail calls support is not enabled"),
        ("exceptions", "(tag (param i32))", "exceptions proposal not enabled"),
        ("gc", "(type (struct (field i32)))", "not supported without the gc feature"),
        ("function-references", "(func (param (ref func)))", "function references required"),
        ("stack-switching", "(type $f (func)) (type (cont $f))", "stack switching is disabled"),
        (
            "wide-arithmetic",
            "(func (param i64 i64 i64 i64) (result i64 i64) local.get 0 local.get 1 local.get 2 local.get 3 i64.add128)",
            "wide arithmetic support is not enabled",
        ),
        ("extended-const", "(global i32 (i32.add (i32.const 1) (i32.const 1)))", "constant expression required"),
    ] {
        let found = said(&rule(&whole_with(text, "")), "");
        assert!(found.starts_with("not a rule's component: it is not valid WebAssembly: "), "{feature}: {found}");
        assert!(found.contains(message), "{feature}: {found}");
    }
}

/// And every one of the component model beyond functions, types and instances.
#[test]
fn the_gate_refuses_what_a_rule_does_not_need_of_the_component_model() {
    let resource = "(type $r (resource (rep i32)))";
    for (text, name) in [
        (
            "(component $c (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
                (func (export \"f\") (canon lift (core func $i \"f\"))))
             (instance $c (instantiate $c)) (core func (canon lower (func $c \"f\")))"
                .to_owned(),
            "Lower",
        ),
        (format!("{resource} (core func (canon resource.new $r))"), "ResourceNew"),
        (format!("{resource} (core func (canon resource.drop $r))"), "ResourceDrop"),
        (format!("{resource} (core func (canon resource.rep $r))"), "ResourceRep"),
        ("(core func (canon task.cancel))".to_owned(), "TaskCancel"),
        ("(core func (canon backpressure.inc))".to_owned(), "BackpressureInc"),
        ("(core func (canon waitable-set.new))".to_owned(), "WaitableSetNew"),
        ("(core func (canon subtask.drop))".to_owned(), "SubtaskDrop"),
        ("(core func (canon context.get i32 0))".to_owned(), "ContextGet"),
        ("(core func (canon thread.available_parallelism))".to_owned(), "ThreadAvailableParallelism"),
        ("(core func (canon error-context.drop))".to_owned(), "ErrorContextDrop"),
    ] {
        let found = said(&rule(&whole_with("", &text)), "");
        let expected = format!(
            "not a rule's component: it uses the built-in function {name} of the component model; a rule calls no other \
             component, and has no resources, tasks or threads"
        );
        assert_eq!(found, expected);
    }
    for (text, message) in [
        ("(type (stream u8))", "async"),
        ("(type (future u8))", "async"),
        ("(type error-context)", "error-context"),
        ("(type (list u8 4))", "fixed-length"),
        ("(type (map string u8))", "map"),
        ("(import \"host\" (func))", "imports"),
        ("(import \"host\" (core module))", "imports"),
        ("(import \"host\" (component))", "imports"),
    ] {
        let found = said(&rule(&whole_with("", text)), "");
        assert!(found.starts_with("not a rule's component: ") && found.contains(message), "{text}: {found}");
    }
}

/// A component that exports an interface of our name with something else in it.
fn exporting(interface: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "none"))
                (func (export "text") (param i32 i32)))
            (core instance $i (instantiate $m))
            (alias core export $i "memory" (core memory $memory))
            (alias core export $i "realloc" (core func $realloc))
            (alias core export $i "none" (core func $none))
            (alias core export $i "text" (core func $text))
            (func $f (canon lift (core func $none)))
            (func $g (param "event-json" string) (canon lift (core func $text) (memory $memory) (realloc $realloc)))
            {interface})"#
    );
    rule(&wat::parse_str(text).expect("the text is right"))
}

#[test]
fn an_interface_of_our_name_with_something_else_in_it_is_refused() {
    let expected = "it must have only the function evaluate: func(event-json: string) -> option<record {title: \
        string, dedup: string, severity: option<enum {info, low, medium, high, critical}>, context: string}>";
    for (instance, found) in [
        ("", "nothing"),
        (r#"(export "evaluate" (func $f))"#, "evaluate: func()"),
        (r#"(export "evaluate" (func $g))"#, "evaluate: func(event-json: string)"),
        (
            r#"(export "evaluate" (func $g)) (export "more" (func $f))"#,
            "evaluate: func(event-json: string), more: func()",
        ),
    ] {
        let interface = format!(r#"(instance $x {instance}) (export "portcullis:detection/rule@1.0.0" (instance $x))"#);
        let expected = format!("not a rule's component: its portcullis:detection/rule@1.0.0 has {found}; {expected}");
        assert_eq!(said(&exporting(&interface), ""), expected);
    }
    let export = |what: &str| said(&exporting(what), "");
    let outside = "exports evaluate; a rule exports portcullis:detection/rule@1.0.0 and nothing else";
    assert!(export(r#"(export "evaluate" (func $f))"#).contains(outside));
    let function = r#"(export "portcullis:detection/rule@1.0.0" (func $f))"#;
    assert!(
        export(function).contains("rule@1.0.0 has something other than an interface; it must"),
        "{}",
        export(function)
    );
}

/// Loops in loops that change a thousand variables: within every limit of the gate, and made so that the compiler takes
/// ever more time and memory.
fn compile_bomb() -> Vec<u8> {
    let mut state = 1_u64;
    let mut local = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 990
    };
    let mut function = format!("(func (param i32) (result i32) (local {})", "i32 ".repeat(990));
    for _ in 0..20 {
        for _ in 0..100 {
            let (a, b, c) = (local(), local(), local());
            function += &format!("(loop local.get {a} local.get {b} i32.add local.set {c}");
        }
        for _ in 0..100 {
            function += &format!(" local.get {} br_if 0)", local());
        }
    }
    function += " local.get 5)";
    rule(&component(&module_with(&function.repeat(14))))
}

#[test]
fn a_compile_bomb_kills_only_its_child_process_and_the_reason_is_reported() {
    let bomb = compile_bomb();
    let compile = "its component does not compile: it takes more than";
    assert_eq!(
        said(&bomb, "[limits]\ncompile-time = \"1s\""),
        format!("{compile} 1 s of CPU time (compile-time in the config's limits)")
    );
    assert_eq!(
        said(&bomb, "[limits]\ncompile-memory = \"100MiB\""),
        format!("{compile} 104857600 bytes of memory (compile-memory in the config's limits)")
    );
}

/// Types that are as wide as a type may be, and lifted thousands of times: to validate that takes a minute, though there is
/// little of it.
#[test]
fn a_validation_bomb_kills_only_its_child_process() {
    let variant = |name: &str, cases: usize, inner: &str| {
        let cases: String = (0..cases).map(|n| format!("(case \"c{n}\" {inner})")).collect();
        format!("(type ${name} (variant {cases}))")
    };
    let types = variant("v0", 99, "u8") + &variant("v1", 99, "$v0") + &variant("v2", 90, "$v1");
    let bomb = format!(
        r#"{types} (type $f (func (param "x" $v2)))
        (core module $n (func (export "f") (param i32 i32 i32 i32)))
        (core instance $n (instantiate $n)) (alias core export $n "f" (core func $cf))
        {}"#,
        "(func (type $f) (canon lift (core func $cf)))".repeat(9_000)
    );
    assert_eq!(
        said(&rule(&whole_with("", &bomb)), "[limits]\ncompile-time = \"1s\""),
        "its component does not compile: it takes more than 1 s of CPU time (compile-time in the config's limits)"
    );
}

/// The child reports in one line of JSON, and is no command for people.
#[test]
fn the_child_process_reports_why_it_cannot_compile() {
    let child = |input: &[u8]| crate::support::run_with_input(["portcullis-compile-child", "5", "1000000000"], input);
    let ended = child(b"\0asm");
    assert_eq!((ended.code, &*ended.stdout), (Some(3), ""));
    let report: serde_json::Value = serde_json::from_str(&ended.stderr).expect("one line of JSON");
    assert_eq!(report["failure"], "gate", "{report}");
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("unexpected end")), "{report}");
    let ended = crate::support::run_with_input(["portcullis-compile-child", "5"], b"");
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("expected portcullis-compile-child SECONDS BYTES"), "{}", ended.stderr);
    assert!(!run(["--help"]).stdout.contains("compile"), "it is no command");
}

/// A program whose `main` does not make it able to be the child starts no process, which would be itself once more.
#[test]
fn without_a_main_that_can_be_the_child_a_package_is_refused() {
    let compiler = Compiler::new(Engine::new().expect("an engine")).in_child();
    let error = compiler.package(&hostile("traps"), "traps").expect_err("this is a test's main");
    assert!(error.to_string().contains("does not call portcullis::run_compile_child()"), "{error}");
}

/// A file that never ends, one that cannot be read, one that is a package and a little more.
#[test]
fn a_file_is_read_only_up_to_the_limit_of_a_package() {
    let ended = run(["inspect", "/dev/zero"]);
    let message = "portcullis: /dev/zero: not a rule's component: it has 1048577 bytes; the limit is 1048576 (package in the config's limits)\n";
    assert_eq!((ended.code, &*ended.stderr), (Some(3), message));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let huge = folder.path().join("huge.wasm");
    fs::File::create(&huge).and_then(|file| file.set_len(1 << 40)).expect("a file with a hole");
    let ended = run(["inspect", huge.to_str().expect("UTF-8")]);
    assert!(ended.stderr.contains("it has 1099511627776 bytes; the limit is 1048576"), "{}", ended.stderr);
}

#[test]
fn custom_sections_are_bounded() {
    let component = component(&module_with(""));
    let long = spec("A.Rule") + "Runbook: " + &"a".repeat(300 << 10) + "\n";
    let found = said(&package(&component, &long, OPEN_MANIFEST), "");
    assert_eq!(found, format!("its section portcullis:spec has {} bytes; the limit is 262144", long.len()));
    let manifest = OPEN_MANIFEST.to_owned() + &" ".repeat(70_000);
    let found = said(&package(&component, &spec("A.Rule"), &manifest), "");
    assert_eq!(found, format!("its section portcullis:manifest has {} bytes; the limit is 65536", manifest.len()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rule.wasm");
    fs::write(&path, hostile("two-memories")).expect("written");
    let ended = run(["inspect", path.to_str().expect("UTF-8")]);
    assert!(ended.stderr.contains("it is not valid WebAssembly: multiple memories"), "{}", ended.stderr);
}

/// What stands in every line that is written is short, and a spec's aliases make no more of it than a spec may be.
#[test]
fn repeated_sections_are_bounded() {
    let whole = component(&module_with(""));
    let found = said(&package(&whole, &spec(&"a".repeat(151)), OPEN_MANIFEST), "");
    assert!(
        found.ends_with("RuleID has 151 bytes; the limit is 150, because each line of the ledger contains it"),
        "{found}"
    );
    let version = format!(r#"{{"version":"1.0.0+{}","prefilter":{{}}}}"#, "a".repeat(60));
    let found = said(&package(&whole, &spec("A.Rule"), &version), "");
    assert!(
        found.ends_with("its version has 66 bytes; the limit is 64, because each line of the ledger contains it"),
        "{found}"
    );
    let anchors: String = (0..100).map(|n| format!("&b{n} x, ")).collect();
    let aliases = "*a, ".repeat(600);
    let bomb = format!("{}Description: &a {}\nTags: [{anchors}{aliases}x]\n", spec("A.Rule"), "x".repeat(90_000));
    let found = said(&package(&whole, &bomb, OPEN_MANIFEST), "");
    assert!(found.starts_with("its spec is refused: "), "{found}");
}

/// Each alert contains these texts, so a rule could make its alerts large, or look like another's.
#[test]
fn texts_of_a_spec_are_short_and_can_be_seen() {
    let whole = component(&module_with(""));
    for (text, reason) in [
        (
            format!("Runbook: {}\n", "a".repeat(20_000)),
            "Runbook has 20000 bytes; the limit is 16384, because each alert contains it",
        ),
        (
            format!("DisplayName: {}\n", "a".repeat(1_001)),
            "DisplayName has 1001 bytes; the limit is 1000, because each alert contains it",
        ),
        (
            format!("Tags: [{}]\n", "a, ".repeat(101)),
            "Tags has 101 entries of at most 1 bytes; the limits are 100 and 1000, because each alert contains them",
        ),
        (
            format!("Reports: {{Any: [{}]}}\n", "a".repeat(2_000)),
            "Reports has 1 entries of at most 2000 bytes; the limits are 100 and 1000, because each alert contains them",
        ),
    ] {
        let found = said(&package(&whole, &(spec("A.Rule") + &text), OPEN_MANIFEST), "");
        assert_eq!(found, format!("its spec is refused: {reason}"));
    }
    for id in ["A.\u{202e}elu.R", "A.R\u{200b}ule", "A\u{2028}Rule"] {
        let found = said(&package(&whole, &spec(id), OPEN_MANIFEST), "");
        assert!(found.ends_with("or a character that cannot be seen"), "{found}");
    }
    let twice = r#"{"version":"0.1.0","prefilter":{"verb":["get"],"verb":["create"]}}"#;
    let found = said(&package(&whole, &spec("A.Rule"), twice), "");
    assert!(found.contains("its prefilter has the field \"verb\" twice"), "{found}");
}

/// Instance types in instance types, thousands deep.
#[test]
fn deep_nesting_kills_only_the_child_process() {
    let depth = 200_000;
    let mut section = [&[0x01][..], &[0x42, 0x01, 0x01].repeat(depth)].concat();
    let mut length = section.len();
    let mut bytes = whole_with("", "");
    bytes.push(7);
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).expect("seven bits"));
    bytes.append(&mut section);
    let found = said(&rule(&bytes), "");
    assert!(
        found.starts_with("its component does not compile: the compiling process ended with a stack overflow"),
        "{found}"
    );
}

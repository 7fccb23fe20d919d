//! What comes with the program for shells and for `man`.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::run;

/// The commands that the program has, as its help lists them.
fn commands() -> BTreeSet<String> {
    let help = run(["--help"]).stdout;
    let (_, list) = help.split_once("Commands:\n").expect(&help);
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help" && !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn each_shell_gets_a_script_with_all_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = run(["completions", shell]);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{shell}");
        let missing: Vec<_> = commands().into_iter().filter(|name| !ended.stdout.contains(&**name)).collect();
        assert!(missing.is_empty(), "{shell}: {missing:?}");
    }
    let refused = run(["completions", "tcsh"]);
    assert_eq!((refused.code, &*refused.stdout), (Some(2), ""));
    assert!(refused.stderr.contains("[possible values: bash, elvish, fish, powershell, zsh]"), "{}", refused.stderr);
}

/// What bash offers after `portcullis ex`.
#[test]
fn bash_completes_commands() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("portcullis");
    fs::write(&script, run(["completions", "bash"]).stdout).expect("written");
    let steps = format!(
        "source {}; COMP_WORDS=(portcullis ex); COMP_CWORD=1; _portcullis portcullis ex portcullis; echo ${{COMPREPLY[@]}}",
        script.display()
    );
    let offered = Command::new("bash").args(["-c", &steps]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&offered.stdout), "explain export\n", "{offered:?}");
}

#[test]
fn each_command_has_a_manual_page_with_its_options_exit_codes_and_examples() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pages = folder.path().join("man1");
    let ended = run(["man", pages.to_str().expect("UTF-8")]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    let written: BTreeSet<String> = fs::read_dir(&pages)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    let expected = commands().into_iter().map(|name| format!("portcullis-{name}.1"));
    assert_eq!(written, expected.chain(["portcullis.1".to_owned()]).collect());
    assert_eq!(ended.stdout.lines().count(), written.len());
    let page = |name: &str| fs::read_to_string(pages.join(name)).expect("read");
    assert!(page("portcullis.1").contains("130  stopped by Ctrl"), "{}", page("portcullis.1"));
    let of_run = page("portcullis-run.1");
    assert!(of_run.contains("\\fBportcullis run\\fR ["), "{of_run}");
    assert!(of_run.contains("\\-\\-threads") && of_run.contains("Examples:"), "{of_run}");
    // A file where the folder should be.
    fs::write(folder.path().join("file"), "").expect("written");
    let refused = run(["man", folder.path().join("file").to_str().expect("UTF-8")]);
    assert_eq!(refused.code, Some(4));
    assert!(refused.stderr.contains("file: cannot be created"), "{}", refused.stderr);
}

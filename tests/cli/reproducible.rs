//! Two clean builds of the rules give the same bytes, wherever the project lies; an edit rebuilds just what it must.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::support::{exported, pipeline, project};
use guests::{PIPELINES, Pipeline, Profile};

#[path = "../../host/portcullis/src/package/componentize.rs"]
mod componentize;
#[path = "../../host/portcullis/build/guests.rs"]
mod guests;
#[path = "../../host/portcullis/src/package/sections.rs"]
mod sections;

/// A copy of what the rules are built from, in another place, with a target directory of its own.
struct Elsewhere {
    _folder: tempfile::TempDir,
    workspace: PathBuf,
    rules: Vec<guests::Guest>,
}

impl Elsewhere {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = folder.path().canonicalize().expect("it exists").join("another-place");
        fs::create_dir(&workspace).expect("a folder");
        for part in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "host", "rules-wasm", "fixtures/rules", "wit"] {
            copy(&project(part), &workspace.join(part));
        }
        let rules = guests::discover(&workspace).expect("the rules");
        let elsewhere = Self { _folder: folder, workspace, rules };
        elsewhere.take_compiled_macros();
        elsewhere
    }

    /// Copies what the first build compiled for the machine that builds: macros and build scripts, most of the time of
    /// such a build. All that is compiled for the rules' target is compiled again.
    fn take_compiled_macros(&self) {
        let builds = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().expect("a target directory").join("build");
        let of_this_project = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("portcullis-");
        let from = fs::read_dir(builds).expect("build scripts").map(|entry| entry.expect("an entry"));
        let from =
            from.filter(of_this_project).map(|entry| entry.path().join("out/guests")).filter(|path| path.is_dir());
        let from = from.max_by_key(|path| fs::metadata(path).and_then(|of| of.modified()).expect("this system has it"));
        let from = from.expect("the rules were built");
        fs::create_dir(self.target_dir()).expect("a folder");
        // With the files' times, by which cargo sees what must be built again.
        let profiles = [Profile::Guest, Profile::Module].map(|profile| from.join(profile.name()));
        let copied = Command::new("cp").arg("-a").args(profiles).arg(self.target_dir()).status();
        assert!(copied.expect("cp is there").success(), "not copied: {}", from.display());
    }

    fn target_dir(&self) -> PathBuf {
        self.workspace.join("target")
    }

    /// Builds the rules: their packages, and when the module of each was written.
    fn build(&self) -> Vec<(Vec<u8>, SystemTime)> {
        guests::compile(&self.workspace, &self.target_dir(), Profile::Guest, self.rules.iter().map(|rule| &rule.name))
            .expect("the rules build");
        let module = |rule: &guests::Guest| {
            fs::metadata(guests::module(&self.target_dir(), Profile::Guest, &rule.name)).expect("it was built")
        };
        let built = |rule| {
            let package = guests::package(&self.target_dir(), rule).expect("a package");
            (package, module(rule).modified().expect("this system has it"))
        };
        self.rules.iter().map(built).collect()
    }

    /// Builds what takes both rules into a pipeline.
    fn pipelines(&self) -> Vec<Vec<u8>> {
        let crates = PIPELINES.iter().map(Pipeline::crate_name);
        guests::compile(&self.workspace, &self.target_dir(), Profile::Module, crates).expect("they build");
        PIPELINES.iter().map(|pipeline| pipeline.wasm(&self.target_dir()).expect("a file")).collect()
    }

    fn append(&self, file: &str, text: &str) {
        let file = self.workspace.join(file);
        let old = fs::read_to_string(&file).expect("it is there");
        fs::write(file, old + text).expect("written");
    }
}

#[test]
fn a_clean_build_in_another_folder_gives_the_same_packages_and_an_edit_rebuilds_its_dependents() {
    let elsewhere = Elsewhere::new();
    let [nodeport, system] = <[_; 2]>::try_from(elsewhere.build()).expect("two rules");

    let (_folder, files) = exported();
    let embedded: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("exported")).collect();
    assert!(embedded == [&*nodeport.0, &*system.0], "the packages differ");
    let pipelines = elsewhere.pipelines();
    assert!(pipelines == PIPELINES.map(|known| pipeline(known.file)), "what is for pipelines differs");
    let places = [&project("").canonicalize().expect("it exists"), &elsewhere.workspace];
    for place in places.map(|path| path.display().to_string()) {
        for package in embedded.iter().chain(&pipelines) {
            assert!(!package.windows(place.len()).any(|window| window == place.as_bytes()), "{place} is in a package");
        }
    }

    elsewhere.append("rules-wasm/nodeport-service/rule.yml", "\n# edited\n");
    let after_spec = elsewhere.build();
    assert!(
        after_spec[0].0 != nodeport.0 && after_spec[0].1 == nodeport.1,
        "a spec is attached anew, nothing compiled"
    );
    assert!(after_spec[1] == system);

    elsewhere.append("rules-wasm/nodeport-service/src/lib.rs", "\n// edited\n");
    let after_rule = elsewhere.build();
    assert!(after_rule[0].1 > after_spec[0].1, "an edited rule is compiled");
    assert!(after_rule[1] == system, "and no other");

    for file in ["rules-wasm/sdk/src/lib.rs", "wit/detection.wit"] {
        let before = elsewhere.build();
        elsewhere.append(file, "\n// edited\n");
        let after = elsewhere.build();
        assert!(after[0].1 > before[0].1 && after[1].1 > before[1].1, "{file} concerns both");
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).expect("a file");
    }
}

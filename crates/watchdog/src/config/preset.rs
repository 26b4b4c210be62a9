//! What is known of a XiVO site, laid beneath the user's file: XiVO's real commands.

use failover::Side;

use super::file::PresetName;

/// Commands of a node, where the preset knows any.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Preset {
    pub(super) start: Option<&'static [&'static str]>,
    pub(super) restart: Option<&'static [&'static str]>,
    pub(super) instance: Option<&'static [&'static str]>,
    pub(super) stop: Option<&'static [&'static str]>,
    pub(super) check: Option<&'static [&'static str]>,
    pub(super) ready: Option<(&'static str, &'static [u16])>,
}

const MAIN: Preset = Preset {
    restart: None,
    instance: None,
    start: Some(&["xivo-service", "start", "all"]),
    stop: Some(&["xivo-service", "stop", "all"]),
    check: Some(&["xivo-service", "status", "all"]),
    ready: None,
};

const STANDBY: Preset = Preset {
    start: Some(&["xivo-manage-slave-services", "start"]),
    stop: Some(&["xivo-manage-slave-services", "stop"]),
    ..MAIN
};

/// Which services move is the site's own choice; these two are known to.
const CC: Preset = Preset {
    restart: None,
    instance: None,
    start: Some(&["xivocc-dcomp", "up", "-d", "xuc", "xucmgt"]),
    stop: Some(&["xivocc-dcomp", "stop", "xuc", "xucmgt"]),
    check: None,
    // Without a token xuc refuses, and so says that it is there.
    ready: Some(("https://127.0.0.1/xuc/api/2.0/auth/check", &[200, 401])),
};

/// Up to 2025.10 xuc runs on both sides, and knows nothing of the calls until it is restarted after a switch. Its container
/// keeps its id over a restart, so the time of its start stands beside it.
const CC_2025: Preset = Preset {
    start: None,
    stop: None,
    restart: Some(&["xivocc-dcomp", "restart", "xuc"]),
    instance: Some(&["docker", "inspect", "--format", "{{.Id}}-{{.State.StartedAt}}", "xivocc_xuc_1"]),
    ..CC
};

/// The preset of a XiVO node.
pub(super) fn xivo(name: Option<PresetName>, side: Side) -> Preset {
    match (name, side) {
        (None, _) => Preset::default(),
        (Some(_), Side::Main) => MAIN,
        (Some(_), Side::Standby) => STANDBY,
    }
}

/// The preset of a CC node.
pub(super) fn cc(name: Option<PresetName>) -> Preset {
    match name {
        None => Preset::default(),
        Some(PresetName::Xivo | PresetName::XivoNextlts) => CC,
        Some(PresetName::Xivo2025) => CC_2025,
    }
}

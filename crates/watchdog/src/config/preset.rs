//! What is known of a XiVO site, laid beneath the user's file: XiVO's real commands.

use failover::Side;

use super::file::PresetName;

/// Commands of a node, where the preset knows any.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Preset {
    pub(super) start: Option<&'static [&'static str]>,
    pub(super) stop: Option<&'static [&'static str]>,
    pub(super) check: Option<&'static [&'static str]>,
    pub(super) ready: Option<(&'static str, &'static [u16])>,
}

const MAIN: Preset = Preset {
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
    start: Some(&["xivocc-dcomp", "up", "-d", "xuc", "xucmgt"]),
    stop: Some(&["xivocc-dcomp", "stop", "xuc", "xucmgt"]),
    check: None,
    // Without a token xuc refuses, and so says that it is there.
    ready: Some(("https://127.0.0.1/xuc/api/2.0/auth/check", &[200, 401])),
};

/// The preset of a XiVO node.
pub(super) fn xivo(name: Option<PresetName>, side: Side) -> Preset {
    match (name, side) {
        (None, _) => Preset::default(),
        (Some(PresetName::Xivo), Side::Main) => MAIN,
        (Some(PresetName::Xivo), Side::Standby) => STANDBY,
    }
}

/// The preset of a CC node.
pub(super) fn cc(name: Option<PresetName>) -> Preset {
    match name {
        None => Preset::default(),
        Some(PresetName::Xivo) => CC,
    }
}

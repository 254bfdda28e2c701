//! How the agent logs, by the flags of Istio's.

use clap::Args;

/// The agent's own log.
#[derive(Clone, Debug, Args)]
pub struct LogArguments {
    /// The level of the agent's log: LEVEL, or SCOPE:LEVEL,... of which `default` and `all` are the agent's
    #[arg(
        long = "log_output_level",
        value_name = "SCOPE:LEVEL,...",
        default_value = "default:info"
    )]
    level: String,
    /// Write the agent's log as JSON
    #[arg(long = "log_as_json")]
    pub as_json: bool,
}

impl LogArguments {
    /// The level for the whole agent, in the words of its own log. Scopes of Istio's agent are none of this one's.
    #[must_use]
    pub fn filter(&self) -> &'static str {
        let level = |item: &str| {
            let (scope, level) = item.split_once(':').unwrap_or(("default", item));
            let level = match level {
                "none" => "off",
                "fatal" | "error" => "error",
                "warn" => "warn",
                "info" => "info",
                "debug" => "debug",
                _ => return None,
            };
            matches!(scope, "default" | "all").then_some(level)
        };
        self.level
            .split(',')
            .filter_map(level)
            .next_back()
            .unwrap_or("info")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_level_for_all_of_it_counts() {
        let filter = |level: &str| {
            let level = level.to_owned();
            LogArguments {
                level,
                as_json: false,
            }
            .filter()
        };
        assert_eq!(filter("default:info"), "info");
        assert_eq!(filter("debug"), "debug");
        assert_eq!(filter("default:info,xds:debug,all:none"), "off");
        assert_eq!(filter("loud"), "info");
    }
}

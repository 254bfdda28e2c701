//! Rules as `iptables-restore` reads them, and what must be said to get from the rules that are there to others.

use std::collections::BTreeSet;

/// The rules of an address family.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) tables: Vec<Table>,
}

/// The rules of one table. All chains in it are ours; built-in ones only jump to them.
#[derive(Debug)]
pub(super) struct Table {
    name: &'static str,
    chains: BTreeSet<&'static str>,
    rules: Vec<String>,
    jumps: Vec<Jump>,
}

/// From a built-in chain to one of ours.
#[derive(Debug)]
struct Jump {
    from: &'static str,
    filter: &'static str,
    to: &'static str,
}

/// Every chain that this agent ever makes.
const CHAINS: [&str; 5] = [
    "ISTIO_INBOUND",
    "ISTIO_IN_REDIRECT",
    "ISTIO_OUTPUT",
    "ISTIO_OUTPUT_DNS",
    "ISTIO_REDIRECT",
];

impl Table {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            chains: BTreeSet::new(),
            rules: Vec::new(),
            jumps: Vec::new(),
        }
    }

    /// A rule at the end of one of our chains.
    pub(super) fn add(&mut self, chain: &'static str, rule: &str) {
        self.chains.insert(chain);
        self.rules.push(format!("-A {chain} {rule}"));
    }

    /// From a built-in chain to ours.
    pub(super) fn jump(&mut self, from: &'static str, filter: &'static str, to: &'static str) {
        self.chains.insert(to);
        self.jumps.push(Jump { from, filter, to });
    }

    fn render(&self, jumps: impl Iterator<Item = String>) -> String {
        // A chain that is named this way is made, or emptied if it is there.
        let chains = self.chains.iter().map(|chain| format!(":{chain} - [0:0]"));
        frame(
            self.name,
            chains.chain(self.rules.iter().cloned()).chain(jumps),
        )
    }
}

impl Jump {
    fn text(&self) -> String {
        format!("-A {} {} -j {}", self.from, self.filter, self.to)
    }
}

fn frame(table: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.map(|line| line + "\n").collect();
    format!("*{table}\n{lines}COMMIT\n")
}

/// All rules, for a network namespace that has none.
pub(super) fn print(rules: &Rules) -> String {
    let tables = rules.tables.iter();
    tables
        .map(|table| table.render(table.jumps.iter().map(Jump::text)))
        .collect()
}

/// What sets the rules where `saved` is what `iptables-save` says: chains of an earlier time that are not needed any
/// more are removed, and no jump is made twice.
pub(super) fn apply(rules: &Rules, saved: &str) -> String {
    let kept = |table: &str, chain: &str| {
        let same = rules.tables.iter().find(|ours| ours.name == table);
        same.is_some_and(|ours| ours.chains.contains(chain))
    };
    let removed = remove(saved, |table, chain| !kept(table, chain));
    let set = rules.tables.iter().map(|table| {
        let missing = table.jumps.iter().filter(|jump| {
            let mut there = jumps(saved, table.name);
            !there
                .any(|(line, to)| to == jump.to && line.starts_with(&format!("-A {} ", jump.from)))
        });
        table.render(missing.map(Jump::text))
    });
    removed + &set.collect::<String>()
}

/// What removes our chains where `saved` is what `iptables-save` says; empty when there are none.
pub(super) fn undo(saved: &str) -> String {
    remove(saved, |_, _| true)
}

fn remove(saved: &str, is_removed: impl Fn(&str, &str) -> bool) -> String {
    let tables = saved.lines().filter_map(|line| line.strip_prefix('*'));
    let remove = |table: &str| {
        let there = |chain: &&str| {
            let declared = format!(":{chain} ");
            section(saved, table).any(|line| line.starts_with(&declared))
                && is_removed(table, chain)
        };
        let chains: Vec<_> = CHAINS.into_iter().filter(there).collect();
        if chains.is_empty() {
            return String::new();
        }
        let jumps = jumps(saved, table).filter(|(_, to)| chains.contains(to));
        let jumps = jumps.map(|(line, _)| line.replacen("-A", "-D", 1));
        // They refer to each other: all are emptied before the first goes.
        let empty = chains.iter().map(|chain| format!("-F {chain}"));
        let delete = chains.iter().map(|chain| format!("-X {chain}"));
        frame(table, jumps.chain(empty).chain(delete))
    };
    tables.map(remove).collect()
}

/// The jumps from chains that are not ours to ours: (line, our chain).
fn jumps<'a>(saved: &'a str, table: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    section(saved, table).filter_map(|line| {
        let (from, _) = line.strip_prefix("-A ")?.split_once(' ')?;
        let (_, to) = line.split_once(" -j ")?;
        (CHAINS.contains(&to) && !CHAINS.contains(&from)).then_some((line, to))
    })
}

/// The lines of one table.
fn section<'a>(saved: &'a str, table: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("*{table}");
    let lines = saved.lines().skip_while(move |line| *line != start).skip(1);
    lines.take_while(|line| *line != "COMMIT")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;
    use crate::args::{Arguments, Command};
    use crate::capture::rules::{Family, rules};

    fn lines(family: Family, flags: &[&str]) -> Vec<String> {
        let words = ["lateen-agent", "capture"].iter().chain(flags);
        let Command::Capture(arguments) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("not capture");
        };
        let servers = BTreeSet::from(["198.18.0.10".parse().unwrap()]);
        print(&rules(&arguments, family, &servers))
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn of<'a>(lines: &'a [String], chain: &str) -> Vec<&'a str> {
        let prefix = format!("-A {chain} ");
        lines
            .iter()
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect()
    }

    #[test]
    fn by_default_everything_goes_through_envoy_in_istios_order() {
        let lines = lines(Family::V4, &[]);
        assert_eq!(
            of(
                &lines[..lines.iter().position(|line| line == "COMMIT").unwrap()],
                "ISTIO_INBOUND"
            ),
            [
                "-p tcp --dport 15008 -j RETURN",
                "-p tcp --dport 15090 -j RETURN",
                "-p tcp --dport 15021 -j RETURN",
                "-p tcp --dport 15020 -j RETURN",
                "-p tcp -j ISTIO_IN_REDIRECT",
            ]
        );
        assert_eq!(
            of(&lines, "ISTIO_OUTPUT"),
            [
                "-s 127.0.0.6/32 -o lo -j RETURN",
                "! -d 127.0.0.1/32 -o lo -p tcp -m multiport ! --dports 53,15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT",
                "-o lo -p tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN",
                "-m owner --uid-owner 1337 -j RETURN",
                "! -d 127.0.0.1/32 -o lo -p tcp -m multiport ! --dports 53,15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT",
                "-o lo -p tcp ! --dport 53 -m owner ! --gid-owner 1337 -j RETURN",
                "-m owner --gid-owner 1337 -j RETURN",
                "-d 198.18.0.10/32 -p tcp --dport 53 -j REDIRECT --to-ports 15053",
                "-d 127.0.0.1/32 -j RETURN",
                "-j ISTIO_REDIRECT",
            ]
        );
        assert_eq!(
            of(&lines, "OUTPUT")[..2],
            ["-p tcp -j ISTIO_OUTPUT", "-p udp -j ISTIO_OUTPUT_DNS"]
        );
    }

    #[test]
    fn ports_ranges_and_interfaces_are_chosen_by_istios_flags() {
        let flags = [
            "-b",
            "80,81",
            "-i",
            "10.0.0.0/8,fd00::/8",
            "-x",
            "10.1.0.0/16",
            "-q",
            "443",
            "-o",
            "9000",
        ];
        let more = [
            "-c",
            "eth9",
            "-u",
            "7",
            "-g",
            "8",
            "-p",
            "1",
            "-z",
            "2",
            "--redirect-dns=false",
        ];
        let lines = lines(Family::V4, &[&flags[..], &more].concat());
        assert_eq!(
            of(&lines, "ISTIO_INBOUND"),
            [
                "-i eth9 -j RETURN",
                "-p tcp --dport 15008 -j RETURN",
                "-p tcp --dport 80 -j ISTIO_IN_REDIRECT",
                "-p tcp --dport 81 -j ISTIO_IN_REDIRECT",
            ]
        );
        let out = of(&lines, "ISTIO_OUTPUT");
        assert_eq!(
            out[..3],
            [
                "-o eth9 -j RETURN",
                "-p tcp --dport 9000 -j RETURN",
                "-s 127.0.0.6/32 -o lo -j RETURN"
            ]
        );
        assert_eq!(
            out[3..5],
            [
                "! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 -m owner --uid-owner 7 -j ISTIO_IN_REDIRECT",
                "-o lo -m owner ! --uid-owner 7 -j RETURN",
            ]
        );
        assert_eq!(
            out[9..],
            [
                "-d 127.0.0.1/32 -j RETURN",
                "-d 10.1.0.0/16 -j RETURN",
                "-p tcp --dport 443 -j ISTIO_REDIRECT",
                "-d 10.0.0.0/8 -j ISTIO_REDIRECT",
            ]
        );
        assert!(!lines.iter().any(|line| line.contains("53")), "{lines:#?}");
    }

    #[test]
    fn ipv6_has_its_own_addresses() {
        let lines = lines(Family::V6, &["-x", "10.0.0.0/8,fd00::/8"]);
        let out = of(&lines, "ISTIO_OUTPUT");
        assert_eq!(out[0], "-s ::6/128 -o lo -j RETURN");
        assert!(out.contains(&"-d ::1/128 -j RETURN") && out.contains(&"-d fd00::/8 -j RETURN"));
        assert!(
            !lines
                .iter()
                .any(|line| line.contains("10.0.0.0") || line.contains("198.18"))
        );
    }

    #[test]
    fn only_what_is_ours_is_removed() {
        let saved = "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE - [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_REDIRECT - [0:0]\n\
                     -A OUTPUT -j KUBE\n-A OUTPUT -p tcp -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j ISTIO_REDIRECT\nCOMMIT\n\
                     *filter\n:ISTIOLIKE - [0:0]\nCOMMIT\n";
        assert_eq!(
            undo(saved),
            "*nat\n-D OUTPUT -p tcp -j ISTIO_OUTPUT\n-F ISTIO_OUTPUT\n-F ISTIO_REDIRECT\n-X ISTIO_OUTPUT\n\
             -X ISTIO_REDIRECT\nCOMMIT\n"
        );
        assert_eq!(undo("*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"), "");
    }
}

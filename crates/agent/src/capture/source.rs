//! `::6` as an address of the pod: Envoy calls the app from it, as it does from 127.0.0.6, which every pod has.
//!
//! The kernel is asked over its own protocol (rtnetlink): an image that captures traffic need not bring `ip`.

use std::io;
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use super::Family;
use crate::node::INBOUND_SOURCE;

/// `RTM_NEWADDR` and `RTM_DELADDR`.
const NEW: u16 = 20;
const DELETE: u16 = 21;
/// `NLM_F_REQUEST` with `NLM_F_ACK`; `NLM_F_CREATE` with `NLM_F_REPLACE`.
const REQUEST: u16 = 0x5;
const CREATE: u16 = 0x500;
/// `NLMSG_ERROR`, which says that all is well by the code 0.
const ANSWER: u16 = 2;
/// `IFA_F_NODAD`: it is nobody else's.
const NO_DETECTION: u8 = 0x2;
/// `IFA_LOCAL`.
const LOCAL: u16 = 2;

/// Gives the pod the address where connections of a family need it. Twice is harmless.
pub(super) fn add(family: Family) -> io::Result<()> {
    match family {
        Family::V4 => Ok(()),
        Family::V6 => ask(NEW, REQUEST | CREATE).and_then(checked),
    }
}

/// Takes it away. Where there is none, or no IPv6, there is nothing to do.
pub(super) fn remove() {
    let _ = ask(DELETE, REQUEST);
}

fn checked(code: i32) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// Sends a request for the address on `lo`; the kernel's code.
fn ask(kind: u16, flags: u16) -> io::Result<i32> {
    let loopback = nix::net::if_::if_nametoindex("lo")?;
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let message = message(kind, flags, loopback);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 512];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(ANSWER), Some(code)) => Ok(code),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// `nlmsghdr`, `ifaddrmsg` and one attribute.
fn message(kind: u16, flags: u16, interface: u32) -> Vec<u8> {
    let family = 10; // AF_INET6
    let mut body = vec![family, 128, NO_DETECTION, 0];
    body.extend(interface.to_ne_bytes());
    body.extend(20_u16.to_ne_bytes());
    body.extend(LOCAL.to_ne_bytes());
    body.extend(INBOUND_SOURCE.octets());
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]); // sequence and sender
    message.extend(body);
    message
}

#!/usr/bin/env python3
"""Write proto/envoy.binpb: the descriptors of Envoy's API, taken from an Envoy binary.

usage: extract-descriptors.py ENVOY ROOTS OUT

ENVOY is the executable, or a wheel or zip archive that holds it. ROOTS lists one .proto file a line. OUT receives a
google.protobuf.FileDescriptorSet of these files and all that they import, imports first, so that the same binary
always gives the same bytes. Only Python's standard library is needed.

Every protobuf C++ program embeds a serialised FileDescriptorProto for each of its .proto files. Such a message starts
with field 1, the file's own name, which is what we search for; its end is not marked, so fields are read on until one
cannot belong to the same message.
"""

import re
import sys
import zipfile

# field 1 (bytes), a length of one or two bytes, and a path
START = re.compile(rb"\x0a[\x08-\xff]\x01?(?:[a-z][a-z0-9_]*/)+[a-z0-9_]+\.proto")
BYTES, VARINT = 2, 0
NAME, DEPENDENCY, SOURCE_INFO, SYNTAX = 1, 3, 9, 12
# the fields of FileDescriptorProto and their wire types
FIELDS = {number: BYTES for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12)} | {10: VARINT, 11: VARINT}


class NotAMessage(Exception):
    """The bytes here do not continue the message."""


def varint(data, at):
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise NotAMessage


def fields(data, at):
    """Yield (number, start, body, end) for each field from `at` on; body is None for a varint."""
    while at < len(data):
        tag, after = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if FIELDS.get(number) != wire:
            raise NotAMessage
        value, after = varint(data, after)
        end = after + value if wire == BYTES else after
        if end > len(data):
            raise NotAMessage
        yield number, at, data[after:end] if wire == BYTES else None, end
        at = end


def descriptor_at(data, start):
    """Return (name, imports, serialised descriptor) of the file descriptor that starts here, or None."""
    name, imports, pieces, last = None, [], [], 0
    try:
        for number, begin, body, end in fields(data, start):
            # protobuf serialises in field order: a smaller number is the start of something else
            if number < last or (number == NAME and name is not None):
                break
            last = number
            if number == NAME:
                name = body.decode()
            elif number == DEPENDENCY:
                imports.append(body.decode())
            elif number == SYNTAX and body not in (b"proto2", b"proto3"):
                break
            if number != SOURCE_INFO:
                pieces.append(data[begin:end])
            if number == SYNTAX:
                break
    except (NotAMessage, UnicodeDecodeError):
        pass
    if name is None or not name.endswith(".proto"):
        return None
    return name, imports, b"".join(pieces)


def read_binary(path):
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as handle:
            return handle.read()
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        return archive.read(largest)


def find_all(data):
    found = {}
    for match in START.finditer(data):
        descriptor = descriptor_at(data, match.start())
        if descriptor is None:
            continue
        name, imports, message = descriptor
        # the bare name occurs as well, in strings that import it
        if name not in found or len(message) > len(found[name][1]):
            found[name] = imports, message
    return found


def closure(found, roots):
    """The roots and what they import, in an order in which imports come first."""
    order, seen = [], set()

    def visit(name, importer):
        if name in seen:
            return
        seen.add(name)
        if name not in found:
            sys.exit(f"{name}, imported by {importer}, is not in the binary")
        for imported in sorted(found[name][0]):
            visit(imported, name)
        order.append(name)

    for root in sorted(roots):
        visit(root, "the list of roots")
    return order


def encode_varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def main(binary, roots_file, out):
    with open(roots_file, encoding="utf-8") as handle:
        lines = (line.split("#")[0].strip() for line in handle)
        roots = [line for line in lines if line]
    found = find_all(read_binary(binary))
    names = closure(found, roots)
    with open(out, "wb") as handle:
        for name in names:
            message = found[name][1]
            handle.write(b"\x0a" + encode_varint(len(message)) + message)
    print(f"{len(names)} of {len(found)} files written to {out}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

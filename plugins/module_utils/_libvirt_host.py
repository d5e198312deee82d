# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!

"""The one door to libvirt: reading domains and networks, writing the bandwidth of NICs."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Callable
from urllib.parse import urlsplit

from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth import (
    NO_BANDWIDTH,
    RATES,
    Bandwidth,
    Limit,
    from_parameters,
    to_parameters,
)
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_claims import SCOPE_NAMES, Write
from ansible_collections.virtnet.qos.plugins.module_utils._bandwidth_plan import Change, unmet
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_connection import NOBODY, Login, NoAnswer, connect
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_error import (
    SILENT,
    HostError,
    explained,
    host_error,
    is_gone,
    sentence,
)
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_networks import Networks
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_parameters import set_interface_parameters
from ansible_collections.virtnet.qos.plugins.module_utils._libvirt_xml import (
    Domain,
    DomainXml,
    Nic,
    nic_with,
    read_domain,
)
from ansible_collections.virtnet.qos.plugins.module_utils._refusal import Problems

try:
    import libvirt
except ImportError:
    LIBVIRT_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    LIBVIRT_IMPORT_ERROR = None

AT_ONCE = 4  # calls; what a daemon takes of a connection by default is five (max_client_requests in libvirtd.conf)
NO_ID = -1  # of a domain that does not run
STOPPED = "Domain '{}' was shut off meanwhile, and defined as it was before; run again."
STARTED = "Domain '{}' was started meanwhile, perhaps with what it had before; run again."
_SESSION = "libvirt limits bandwidth only in its system daemon, not in a session"


class Away(HostError):
    """A guest was shut off, started, undefined or moved while this ran. ``made`` is what was written, and stands."""

    def __init__(self, message: str, made: Mapping[str, Write]) -> None:
        super().__init__(message, bool(made))
        self.made = made


def check_uri(uri: str, problems: Problems) -> None:
    """Refuse what cannot limit bandwidth: a session daemon has no privilege to (qemuDomainSetInterfaceParameters)."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        parts = urlsplit("")
        problems.add("uri", uri, f"not a URI, {error}", "write one such as qemu:///system")
    if not uri.isprintable():
        problems.add("uri", uri, "no URI has such a character", "write one such as qemu:///system")
    if not uri.strip():
        problems.add("uri", uri, "it is empty, and libvirt would guess", "write one such as qemu:///system")
    if parts.path.rstrip("/") == "/session":
        start = len(parts.scheme) + len(parts.netloc)  # a host can be called session, too
        problems.add("uri", uri, _SESSION, f"use {uri[:start]}{uri[start:].replace('/session', '/system', 1)}")


class Host:
    """A connection to libvirt, for the whole run of a module.

    With ``read_only`` it is one that every user of the host may make, unless its polkit was told otherwise, and that
    no change goes through. Every method raises `HostError` where libvirt refuses.
    """

    def __init__(self, uri: str, read_only: bool = False, login: Login = NOBODY) -> None:
        self._uri = uri
        self._handles: dict[str, Any] = {}  # libvirt's own objects of the domains that were read, by UUID
        # The number that each domain which ran had when it was listed, by UUID: a restart gives a new one.
        self._listed: dict[str, int] = {}
        # Without a handler of ours libvirt prints every error to stderr, where Ansible takes it for part of the result.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        with explained(f"Connecting to {uri}"):
            try:
                self._connection = connect(uri, read_only, login)
            except NoAnswer as error:
                text = f"Connecting to {uri} failed: no answer within {login.seconds} s"
                raise HostError(f"{text}; {SILENT}.") from error
            found = self._connection.getURI()  # the option can be an alias
            if urlsplit(found).path == "/session":
                raise HostError(f"uri '{uri}': it is an alias of {found}, and {_SESSION}; use qemu:///system.")
            self.networks = Networks(self._connection, uri)

    @cached_property
    def _policer_stays(self) -> bool:
        # 12.4: "Only clear qdisc for defined directions"; seen with 12.8.
        return bool(self._connection.getLibVersion() >= 12_004_000)

    @property
    def here(self) -> bool:
        """Whether the daemon runs on this host, so that its guests' devices are this kernel's."""
        # Not the option, which can be an alias.
        uri = urlsplit(self._connection.getURI())
        return not uri.hostname and uri.scheme.partition("+")[2] in ("", "unix")

    def domain(self, name: str) -> Domain:
        """Return the domain with this name or UUID."""
        with explained(f"Reading domain '{name}' on {self._uri}"):
            found = self._find(name)
            (domain,) = _domains([self._read(found, _scopes(bool(found.isActive()), bool(found.isPersistent())))])
            return domain

    def domains(
        self, scopes: Collection[str], concern: Callable[[str], bool] | None = None, about: bool = False
    ) -> list[Domain]:
        """Return the domains of the host, sorted by name, as far as these scopes and what is asked of their names go.

        Guests may start, stop and vanish meanwhile: what is returned of each is of one moment, and those that are gone
        are not in it. Nothing is asked of libvirt that these scopes do not need.
        """
        with explained(f"Listing the domains on {self._uri}"):
            handles = self._connection.listAllDomains()
            named = sorted((handle.name(), handle.ID(), handle) for handle in handles)
            running = any(number != NO_ID for _name, number, _handle in named)
            transient = self._uuids(libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT) if running else ()
        if concern is not None:
            named = [each for each in named if concern(each[0])]
        self._listed = {handle.UUIDString(): number for _name, number, handle in named if number != NO_ID}
        off = [handle for _name, number, handle in named if number == NO_ID] if "config" in scopes else []
        definitions = dict(zip(map(id, off), self._definitions(off)))
        answers = []
        for name, _number, handle in named:
            definition = definitions.get(id(handle))
            if definition is None:
                answer = self._read_whatever_happens(handle, scopes, handle.UUIDString() not in transient, about)
            else:
                uuid = definition.partition("<uuid>")[2][:36]  # the handle takes several times as long
                answer = _Answer(name, uuid, None, definition, running=False)
                self._handles[uuid] = handle
            if answer:
                answers.append(answer)
        return _domains(answers, about)

    def saved(self) -> set[str]:
        """Return the UUIDs of domains that are shut off, and that starting resumes: the guest and its limits."""
        with explained(f"Listing the domains on {self._uri}"):
            return self._uuids(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)

    def started(self, settled: Collection[str]) -> list[str]:
        """Return the names of the domains that were started since they were listed, but for those with these UUIDs."""
        if not self._connection.isAlive():
            return []  # whatever broke the connection has been told
        with explained(f"Listing the domains on {self._uri}"):
            active = self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        found = {handle.name(): (handle.UUIDString(), handle.ID()) for handle in active}
        return sorted(
            name for name, (uuid, number) in found.items() if uuid not in settled and self._listed.get(uuid) != number
        )

    def converge(self, changes: Sequence[Change], lenient: bool = False) -> tuple[list[Change], list[HostError]]:
        """Make these changes and read them back; return those that were made, and what went wrong with the others.

        One NIC that libvirt refuses does not keep the others from what is wanted of them. With ``lenient`` a guest that
        went away meanwhile is told as `Away`, and does not take its definition's new value with it.
        """
        made: dict[int, Change] = {}
        failures: list[HostError] = []
        # A floor is refused while others still have what it is to get (networkCheckBandwidth).
        for number, change in sorted(enumerate(changes), key=lambda numbered: numbered[1].raises_floor):
            try:
                self._apply(change, lenient)
                made[number] = change
            except HostError as failure:
                failures.append(failure)
                if isinstance(failure, Away) and failure.made:
                    made[number] = replace(change, writes=failure.made)
                if not self._connection.isAlive():
                    break
        done = [made[number] for number in sorted(made)]
        return done, failures + self._read_back(done, lenient)

    def _read_back(self, made: Sequence[Change], lenient: bool) -> list[HostError]:
        """Return what libvirt accepted and did not do. Every domain is read once, in the scopes that were written."""
        scopes: dict[str, set[str]] = {}
        for change in made:
            scopes.setdefault(change.uuid, set()).update(change.writes)

        answers: list[_Answer] = []
        after: dict[str, Domain | HostError] = {}
        for change in {change.uuid: change for change in made}.values():
            try:
                answers.append(self._read(self._handle(change), scopes[change.uuid]))
            except libvirt.libvirtError as error:
                after[change.uuid] = host_error(f"Reading domain '{change.domain}' back", error)
        after.update((domain.uuid, domain) for domain in _domains(answers))
        failures: list[HostError] = []
        for change in made:
            domain = after[change.uuid]
            if isinstance(domain, HostError):
                if lenient and domain.gone:
                    continue
                return [*failures, domain]
            writes = {
                scope: write
                for scope, write in change.writes.items()
                if not lenient or _has(domain, scope, change.nic.mac)
            }
            missed = unmet(replace(change, writes=writes), domain)
            came_between = self._came_between(change) if missed and lenient else None
            if came_between:
                failures.append(Away(came_between, writes))
            else:
                failures += [HostError(text) for text in missed]
        return failures

    def _came_between(self, change: Change) -> str | None:
        """Return what became of a guest since it was listed; None where it is the same."""
        try:
            number = self._connection.lookupByUUIDString(change.uuid).ID()
        except libvirt.libvirtError:
            number = NO_ID
        if number == self._listed.get(change.uuid, NO_ID):
            return None
        return (STOPPED if number == NO_ID else STARTED).format(change.domain)

    def _find(self, name: str) -> Any:
        try:
            return self._connection.lookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        try:
            return self._connection.lookupByUUIDString(name)
        except libvirt.libvirtError as error:
            # What is not a UUID at all is an invalid argument.
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INVALID_ARG):
                raise
            code = error.get_error_code()
        names = sorted(domain.name() for domain in self._connection.listAllDomains())
        shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        raise HostError(
            f"domain '{name}': {self._uri} has no domain with this name or UUID (libvirt error {code}); "
            f"it has {shown or 'none at all'}."
        )

    def _uuids(self, flag: int) -> set[str]:
        return {domain.UUIDString() for domain in self._connection.listAllDomains(flag)}

    def _handle(self, change: Change) -> Any:
        return self._handles.get(change.uuid) or self._connection.lookupByUUIDString(change.uuid)

    def _definitions(self, handles: Sequence[Any]) -> list[str | None]:
        """Return the persistent definitions of these domains; None where there is none (any more).

        A daemon works on several calls at the same time, and who has asked for several waits less often, which pays
        even where there is one processor. Nothing else is done in between: that costs several times as much, on a
        processor that the daemon shares.
        """
        definitions: list[str | None] = [None] * len(handles)

        def read(first: int) -> None:
            for number in range(first, len(handles), AT_ONCE):
                try:
                    definitions[number] = handles[number].XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
                except libvirt.libvirtError:  # who asks again learns why
                    definitions[number] = None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(read, range(AT_ONCE)))
        return definitions

    def _read_whatever_happens(
        self, handle: Any, scopes: Collection[str], persistent: bool, about: bool
    ) -> _Answer | None:
        """Return what libvirt says of the domain; None where it is gone."""
        running = handle.ID() != NO_ID
        for again in (False, True, True):
            try:
                if again:
                    running, persistent = bool(handle.isActive()), bool(handle.isPersistent())
                there = [scope for scope in _scopes(running, persistent) if scope in scopes]
                answer = self._read(handle, there, about)
            except libvirt.libvirtError as error:
                # A NIC that was unplugged meanwhile is an invalid argument.
                if not is_gone(error) and error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
                    raise host_error(f"Reading domain '{handle.name()}' on {self._uri}", error) from error
            else:
                answer.running = answer.running if "live" in scopes else running
                return answer
        return None

    def _read(self, handle: Any, scopes: Collection[str], about: bool = False) -> _Answer:
        """Return a domain in these scopes; without the live one where the guest was shut off meanwhile."""
        live: DomainXml | None = None
        if "live" in scopes:
            shown = read_domain(handle.XMLDesc(0), about)
            if shown.running:
                live = shown._replace(nics=tuple(self._with_own(handle, nic) for nic in shown.nics))
        config = handle.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) if "config" in scopes else None
        uuid = handle.UUIDString()
        self._handles[uuid] = handle
        return _Answer(handle.name(), uuid, live, config, live is not None, live is not None and self._policer_stays)

    def _with_own(self, domain: Any, nic: Nic) -> Nic:
        # Only a NIC of a network can show a bandwidth that is its portgroup's; which of the two, the XML does not tell
        # (a network can have a default portgroup, so the absence of a portgroup in it proves nothing).
        if nic.network is None or nic.shown.unlimited:
            return nic
        # The answer is 32 bits wide, and a definition can hold more.
        return replace(nic, own=NO_BANDWIDTH) if self._get(domain, nic.mac, "live").unlimited else nic

    def _get(self, domain: Any, mac: str, scope: str) -> Bandwidth:
        return from_parameters(domain.interfaceParameters(mac, _flag(scope)))

    def _set(self, domain: Any, mac: str, scope: str, bandwidth: Bandwidth, directions: list[str]) -> None:
        set_interface_parameters(domain, mac, to_parameters(bandwidth, directions), _flag(scope))

    def _put(self, domain: Any, mac: str, scope: str, bandwidth: Bandwidth, directions: list[str]) -> None:
        """Set these directions; all of a running NIC by its XML where one has what a call cannot hold."""
        if scope == "live" and any(bandwidth[direction].wide for direction in directions):
            self._update(domain, mac, bandwidth)
        else:
            self._set(domain, mac, scope, bandwidth, directions)

    def renew(self, domain: Domain, nic: Nic) -> None:
        """Give the NIC of a running guest, which has no bandwidth of its own, what its portgroup gives by now."""
        self.check_idle(domain)
        with explained(f"Plugging NIC {nic} of domain '{domain.name}' anew"):
            self._renew(self._connection.lookupByUUIDString(domain.uuid), nic.mac)

    def check_idle(self, domain: Domain) -> None:
        """Refuse a guest with which libvirt is busy for long."""
        with explained(f"Finding domain '{domain.name}' again"):
            busy = self._busy(self._connection.lookupByUUIDString(domain.uuid))
        if busy:
            raise HostError(f"Domain '{domain.name}' is being {busy}; run again when that is over.")

    def runs(self, domain: Domain) -> bool:
        """Whether a guest runs, as far as libvirt says."""
        try:
            return bool(self._connection.lookupByUUIDString(domain.uuid).isActive())
        except libvirt.libvirtError:
            return False

    def plug_again(self, domain: Domain, nic: Nic) -> None:
        """Give the NIC of a running guest a port of its network again, which lost all ports when it was started anew.

        libvirt makes one only where the bandwidth of the NIC changes (qemuDomainChangeNet), so it does, and back.
        """
        stands = f"NIC {nic} of domain '{domain.name}' has no port of network '{nic.network}', which was started anew"
        with explained(f"{stands}, until the guest or libvirt's daemon is restarted: asking for one"):
            handle = self._connection.lookupByUUIDString(domain.uuid)
            direction = "outbound" if nic.shown.inbound.unlimited else "inbound"
            average = nic.shown[direction].average
            other = Limit(average + 1 if 0 < average < RATES.largest else RATES.largest - (average == RATES.largest))
            self._update(handle, nic.mac, replace(nic.shown, **{direction: other}))
        stands = f"NIC {nic} of domain '{domain.name}' has a new port, and a limit that is one step off"
        with explained(f"{stands}, until it is set again (virt_iface_bandwidth, virsh domiftune): setting it"):
            if nic.own.unlimited:
                self._renew(handle, nic.mac)
            else:
                self._put(handle, nic.mac, "live", nic.own, [direction])

    def _renew(self, domain: Any, mac: str) -> None:
        """Plug a running NIC anew without a bandwidth of its own: libvirt then gives it its portgroup's, if any.

        Clearing its own leaves it unlimited instead, until the guest is restarted, and since libvirt 12.4 it leaves
        the policer on the device; going from some bandwidth to none clears the whole device (qemuDomainChangeNet).
        """
        self._update(domain, mac, NO_BANDWIDTH)

    def _update(self, domain: Any, mac: str, bandwidth: Bandwidth) -> None:
        # The XML for a migration is that of the running guest, but as it was defined: of type network, and without
        # what its portgroup gives. The ordinary live XML would turn all of that into the NIC's own.
        xml = nic_with(bandwidth, domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE), mac)
        if not xml:
            self._get(domain, mac, "live")  # raises what libvirt says of a NIC that is not there
        domain.updateDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def _apply(self, change: Change, lenient: bool) -> None:
        """Write both scopes of a NIC, or neither.

        Each by itself, since often only one of them differs. The definition comes first, because taking it back
        touches no traffic.
        """
        of = f"Domain '{change.domain}', NIC {change.nic}"
        try:
            domain = self._handle(change)
        except libvirt.libvirtError as error:
            raise host_error(f"Finding domain '{change.domain}' again", error) from error
        busy = self._busy(domain)
        if busy:
            message = f"{of}: it is left as it is, since the guest is being {busy}; run again when that is over."
            raise Away(message, {}) if lenient else HostError(message)
        tried: list[str] = []
        away: dict[str, str] = {}
        for scope in ("config", "live"):
            write = change.writes.get(scope)
            if write is None:
                continue
            tried.append(scope)
            try:
                directions = write.directions
                if scope == "live" and change.renew:
                    self._renew(domain, change.nic.mac)
                    directions = write.after.differing(NO_BANDWIDTH)
                if directions:
                    self._put(domain, change.nic.mac, scope, write.after, directions)
            except libvirt.libvirtError as error:
                gone = self._away(domain, change.nic, scope, error) if lenient else None
                if gone:
                    away[scope] = gone
                    continue
                what = f"{' and '.join(write.directions)} of the {SCOPE_NAMES[scope]}"
                undone, stands = self._take_back(domain, change, tried)
                message = f"{sentence(f'{of}: setting {what}', error)} {undone}"
                if lenient and not stands and error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
                    raise Away(message, {}) from error  # something long began since this asked
                raise HostError(message, stands) from error
        if away:
            made = {scope: write for scope, write in change.writes.items() if scope not in away}
            raise Away(f"{of}: {' and '.join(away.values())} before it was written.", made)

    def _busy(self, domain: Any) -> str | None:
        """Return what is being done with a running guest for so long that libvirt would only let a change time out."""
        if domain.ID() == NO_ID:
            return None
        try:
            job = domain.jobStats()
        except libvirt.libvirtError:
            return None  # it went away, or the hypervisor has no jobs: the change itself will tell
        if job.get("type") not in (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED):
            return None
        # Of all operations only a backup lets others change the guest meanwhile (VIR_JOB_MODIFY in its mask).
        return {
            libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: "migrated to this host",
            libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: "migrated to another host",
            libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: "saved",
            libvirt.VIR_DOMAIN_JOB_OPERATION_RESTORE: "restored",
            libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: "dumped",
            libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT: "snapshotted",
        }.get(job.get("operation"))

    def _away(self, domain: Any, nic: Nic, scope: str, error: Any) -> str | None:
        """Return what went away, where that is why a write failed: the NIC, or all of the scope; None otherwise."""
        if not is_gone(error) and error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
            return None
        gone = f"the {SCOPE_NAMES[scope]} went away"
        try:
            if not (domain.isActive() if scope == "live" else domain.isPersistent()):
                return gone
            (found,) = _domains([self._read(domain, {scope})])
            there = _has(found, scope, nic.mac)
        except libvirt.libvirtError as again:
            return gone if is_gone(again) else None
        return None if there else f"it was taken from the {SCOPE_NAMES[scope]}"

    def _take_back(self, domain: Any, change: Change, tried: list[str]) -> tuple[str, bool]:
        """Set the scopes that were tried to what they had; return a sentence on what stands, and whether anything does.

        The scope whose write failed is looked at as well: libvirt does not always restore what it had.
        """
        said = []
        stands = False
        for scope in tried:
            write, nic = change.writes[scope], change.nic
            failed = f"Setting the {SCOPE_NAMES[scope]} back to what it was"
            try:
                (now,) = _domains([self._read(domain, {scope})])
                own = next((each.own for each in now.nics.get(scope, ()) if each.mac == nic.mac), write.before)
                if own != write.before:
                    if scope == "live" and write.before.unlimited and not nic.shown.unlimited:
                        self._renew(domain, nic.mac)  # so that it has its portgroup's again
                    else:
                        self._put(domain, nic.mac, scope, write.before, own.differing(write.before))
                    said.append(f"The {SCOPE_NAMES[scope]} was set back to what it was.")
                elif scope == "live" and nic.openvswitch:
                    stands = True  # of it libvirt undoes nothing
                    said.append("The port in Open vSwitch may have the new value; run again.")
            except libvirt.libvirtError as error:
                # A guest that went away took the change with it.
                if is_gone(error):
                    continue
                stands = True
                said.append(f"{sentence(failed, error)} It may have the new value.")
            except OverflowError:
                stands = True
                said.append(f"{failed} failed: it was more than a call of libvirt can hold. It may have the new value.")
        if not stands:
            said.append("Nothing of this NIC has changed.")
        return " ".join(said), stands


@dataclass
class _Answer:
    """What libvirt answered of a domain. Of a running guest more is asked, as its XML says, so that one is parsed."""

    name: str
    uuid: str
    live: DomainXml | None
    config: str | None
    running: bool
    policer_stays: bool = False


def _domains(answers: Sequence[_Answer], about: bool = False) -> list[Domain]:
    """Return the domains. Their definitions are parsed only now that all have been read, see Host._definitions()."""
    domains = []
    for each in answers:
        read = {"live": each.live, "config": each.config and read_domain(each.config, about)}
        nics = {scope: xml.nics for scope, xml in read.items() if xml}
        noted = {scope: xml.about for scope, xml in read.items() if xml}
        domains.append(Domain(each.name, each.uuid, nics, noted, each.running, each.policer_stays))
    return domains


def _has(domain: Domain, scope: str, mac: str) -> bool:
    return any(nic.mac == mac for nic in domain.nics.get(scope, ()))


def _scopes(running: bool, persistent: bool) -> set[str]:
    return {scope for scope, there in (("live", running), ("config", persistent)) if there}


def _flag(scope: str) -> int:
    flag: int = libvirt.VIR_DOMAIN_AFFECT_LIVE if scope == "live" else libvirt.VIR_DOMAIN_AFFECT_CONFIG
    return flag

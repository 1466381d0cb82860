local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

local keep = support.keep

-- Any interface that carries multicast of a family; of IPv6 loopback doesn't.
local function interface_of(family)
    for _, one in ipairs(ms.getinterfaces()) do
        local wanted = bit.bor(ms.IFF_UP, ms.IFF_RUNNING, ms.IFF_MULTICAST)
        if one.family == family
                and bit.band(one.flags, wanted) == wanted then
            return one
        end
    end
end

local function index_bytes(index)
    return ffi.string(ffi.new("int[1]", index), 4)
end

-- What each family needs: a group, addresses, and how to send by an interface.
local FAMILIES = {
    IPv4 = {
        group = "239.77.3.4", source = "127.0.0.1", other = "127.0.0.2",
        interface = { name = "lo", index = 1 },
        any = ms.inetaddr("0.0.0.0", 0),
        address = ms.inetaddr,
        send_by = function(fd, index)
            return ms.setsockopt(fd, ms.IPPROTO_IP, ms.IP_MULTICAST_IF,
                ("\0"):rep(8) .. index_bytes(index))
        end,
    },
    IPv6 = {
        group = "ff15::77:3:4", other = "2001:db8::1",
        interface = interface_of("inet6"),
        any = ms.inet6addr("::", 0),
        address = ms.inet6addr,
        send_by = function(fd, index)
            return ms.setsockopt(fd, "IPV6_MULTICAST_IF", index)
        end,
    },
}
if FAMILIES.IPv6.interface then
    FAMILIES.IPv6.source = FAMILIES.IPv6.interface.addr
end

-- A receiver, and a function that sends to the group, then to the receiver
-- alone, and tells whether the first arrived.
local function receiver_of(family)
    local receiver = keep(ms.udpsocket(family.any))
    local port = support.port_of(ms.getsockname(receiver))
    local interface = family.interface
    local sender = keep(ms.udpsocket(family.address(family.source, 0,
        interface.scope ~= 0 and interface.scope or nil)))
    assert(family.send_by(sender, interface.index))
    local function arrives(group)
        assert(ms.sendto(sender, family.address(group or family.group, port),
            "group"))
        assert(ms.sendto(sender, family.address(family.source, port,
            interface.scope ~= 0 and interface.scope or nil), "alone"))
        local first = ms.recvfrom(receiver, 2000)
        if first == "alone" then return false end
        assert.are.equal("group", first)
        assert.are.equal("alone", (ms.recvfrom(receiver, 2000)))
        return true
    end
    return receiver, arrives, interface.name
end

for name, family in pairs(FAMILIES) do
    describe("a multicast group of " .. name, function()
        before_each(support.setup)
        after_each(support.teardown)

        local group, other, source = family.group, family.other, family.source
        local test = family.interface and it or pending

        test("arrives from joining to leaving", function()
            local fd, arrives, lo = receiver_of(family)
            assert.is_false(arrives())
            assert.is_true(ms.joingroup(fd, group, lo))
            assert.is_true(arrives())
            assert.is_true(ms.leavegroup(fd, group, lo))
            assert.is_false(arrives())
        end)

        test("is joined by the interface's index", function()
            local fd, arrives = receiver_of(family)
            assert.is_true(
                ms.joingroup(fd, group, family.interface.index))
            assert.is_true(arrives())
            assert.is_true(
                ms.leavegroup(fd, group, tostring(family.interface.index)))
            assert.is_false(arrives())
        end)

        test("is only what was joined", function()
            local fd, arrives, lo = receiver_of(family)
            ms.joingroup(fd, group, lo)
            assert.is_false(arrives((group:gsub("4$", "5"))))
        end)

        test("arrives from one source", function()
            local fd, arrives, lo = receiver_of(family)
            assert.is_true(ms.joingroup(fd, group, lo, source))
            assert.is_true(arrives())
            assert.is_true(ms.leavegroup(fd, group, lo, source))
            assert.is_false(arrives())
        end)

        test("arrives from no other source", function()
            local fd, arrives, lo = receiver_of(family)
            assert.is_true(ms.joingroup(fd, group, lo, other))
            assert.is_false(arrives())
        end)

        test("arrives from several sources", function()
            local fd, arrives, lo = receiver_of(family)
            ms.joingroup(fd, group, lo, other)
            assert.is_true(ms.joingroup(fd, group, lo, source))
            assert.is_true(arrives())
            assert.is_true(ms.leavegroup(fd, group, lo, other))
            assert.is_true(arrives())
        end)

        test("doesn't arrive from a blocked source", function()
            local fd, arrives, lo = receiver_of(family)
            ms.joingroup(fd, group, lo)
            assert.is_true(ms.blocksource(fd, group, source, lo))
            assert.is_false(arrives())
            assert.is_true(ms.unblocksource(fd, group, source, lo))
            assert.is_true(arrives())
        end)

        test("arrives from a source when another is blocked", function()
            local fd, arrives, lo = receiver_of(family)
            ms.joingroup(fd, group, lo)
            assert.is_true(ms.blocksource(fd, group, other, lo))
            assert.is_true(arrives())
        end)

        test("arrives from Python", function()
            local fd, _, lo = receiver_of(family)
            ms.joingroup(fd, group, lo)
            support.spawn(([[python3 -c '
import socket
family, group, port, index = %s, "%s", %d, %d
s = socket.socket(family, socket.SOCK_DGRAM)
if family == socket.AF_INET:
    s.setsockopt(0, socket.IP_MULTICAST_IF, bytes(8) + bytes([index, 0, 0, 0]))
else:
    s.setsockopt(41, socket.IPV6_MULTICAST_IF, index)
s.sendto(b"from python", (group, port))
']]):format(name == "IPv4" and "socket.AF_INET" or "socket.AF_INET6", group,
                support.port_of(ms.getsockname(fd)),
                family.interface.index))
            assert.are.equal("from python", (ms.recvfrom(fd, 20000)))
        end)

        local function unbound()
            return keep(ms.udpsocket(family.any))
        end

        -- The result of each call that must fail.
        local function fails(code, _, message, given)
            assert.is_nil(_)
            assert.are.equal(code, given)
            assert.is_string(message)
        end

        it("can't be joined twice", function()
            local fd = unbound()
            ms.joingroup(fd, group, "lo")
            fails(ms.EADDRINUSE, ms.joingroup(fd, group, "lo"))
            fails(ms.EADDRINUSE, ms.joingroup(fd, group, 1))
        end)

        it("can't be joined twice for a source", function()
            local fd = unbound()
            ms.joingroup(fd, group, "lo", other)
            fails(ms.EADDRNOTAVAIL, ms.joingroup(fd, group, "lo", other))
        end)

        it("can't be left before it is joined", function()
            local fd = unbound()
            fails(ms.EADDRNOTAVAIL, ms.leavegroup(fd, group, "lo"))
            fails(ms.EINVAL, ms.leavegroup(fd, group, "lo", other))
        end)

        it("can't be blocked before it is joined, nor unblocked", function()
            local fd = unbound()
            fails(ms.EINVAL, ms.blocksource(fd, group, other, "lo"))
            ms.joingroup(fd, group, "lo")
            fails(ms.EADDRNOTAVAIL, ms.unblocksource(fd, group, other, "lo"))
        end)

        it("isn't joined by an interface that there isn't", function()
            local fd = unbound()
            for _, interface in ipairs({ "none0", "lo\0", "", 2^31 - 1,
                    2^32 - 1 }) do
                fails(ms.ENODEV, ms.joingroup(fd, group, interface))
                fails(ms.ENODEV, ms.joingroup(fd, group, interface, other))
            end
            fails(ms.ENODEV, ms.leavegroup(fd, group, "none0"))
            fails(ms.ENODEV, ms.blocksource(fd, group, other, "none0"))
            fails(ms.ENODEV, ms.unblocksource(fd, group, other, "none0"))
        end)

        it("isn't a name, and neither is a source", function()
            local fd = unbound()
            for _, wrong in ipairs({ "localhost", "", group .. "x",
                    group .. "\0" }) do
                fails(ms.EINVAL, ms.joingroup(fd, wrong, "lo"))
                fails(ms.EINVAL, ms.leavegroup(fd, wrong, "lo"))
                fails(ms.EINVAL, ms.joingroup(fd, group, "lo", wrong))
                fails(ms.EINVAL, ms.blocksource(fd, group, wrong, "lo"))
                fails(ms.EINVAL, ms.unblocksource(fd, group, wrong, "lo"))
            end
        end)

        it("isn't an address of one machine", function()
            fails(ms.EINVAL, ms.joingroup(unbound(), other, "lo"))
        end)

        it("isn't joined by what isn't open, isn't a socket", function()
            local reading = support.pipe()
            for _, call in ipairs({ "joingroup", "leavegroup" }) do
                fails(ms.EBADF, ms[call](-1, group, "lo"))
                fails(ms.ENOTSOCK, ms[call](reading, group, "lo"))
            end
            for _, call in ipairs({ "blocksource", "unblocksource" }) do
                fails(ms.EBADF, ms[call](-1, group, other, "lo"))
                fails(ms.ENOTSOCK, ms[call](reading, group, other, "lo"))
            end
        end)

        it("names the call that failed", function()
            for _, call in ipairs({ "joingroup", "leavegroup" }) do
                assert.are.equal(call .. " error: 9 Bad file descriptor",
                    select(2, ms[call](-1, group)))
            end
            for _, call in ipairs({ "blocksource", "unblocksource" }) do
                assert.are.equal(call .. " error: 9 Bad file descriptor",
                    select(2, ms[call](-1, group, other)))
            end
        end)
    end)
end

describe("multicast", function()
    before_each(support.setup)
    after_each(support.teardown)

    it("has sources of the group's family only", function()
        local fd = keep(ms.udpsocket())
        local done, _, code =
            ms.joingroup(fd, "239.77.3.4", "lo", "2001:db8::1")
        assert.is_nil(done)
        assert.is_true(code == ms.EINVAL or code == ms.EADDRNOTAVAIL)
    end)

    for name, arguments in pairs({
        ["joingroup without a descriptor"] = { "joingroup" },
        ["joingroup without a group"] = { "joingroup", 0 },
        ["joingroup of a table"] = { "joingroup", 0, {} },
        ["joingroup by a table"] = { "joingroup", 0, "239.1.1.1", {} },
        ["joingroup by half an interface"] =
            { "joingroup", 0, "239.1.1.1", 0.5 },
        ["joingroup by a negative one"] = { "joingroup", 0, "239.1.1.1", -1 },
        ["joingroup from a table"] =
            { "joingroup", 0, "239.1.1.1", nil, {} },
        ["leavegroup without a group"] = { "leavegroup", 0 },
        ["leavegroup from a table"] =
            { "leavegroup", 0, "239.1.1.1", nil, {} },
        ["blocksource without a source"] = { "blocksource", 0, "239.1.1.1" },
        ["blocksource by a table"] =
            { "blocksource", 0, "239.1.1.1", "127.0.0.1", {} },
        ["unblocksource without a source"] =
            { "unblocksource", 0, "239.1.1.1" },
        ["unblocksource by a table"] =
            { "unblocksource", 0, "239.1.1.1", "127.0.0.1", {} },
    }) do
        it("raises for " .. name, function()
            local call = arguments[1]
            local raised, problem = pcall(function()
                ms[call](unpack(arguments, 2, 5))
            end)
            assert.is_false(raised)
            assert.matches("multicast_spec%.lua:%d+: bad argument #%d to '"
                .. call .. "'", problem)
        end)
    end
end)

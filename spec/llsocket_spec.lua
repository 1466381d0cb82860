local bit = require "bit"
local lfs = require "lfs"
local llsocket = require "minisock.llsocket"
local ms = require "minisock"
local objects = require "spec.llsocket_support"
local support = require "spec.support"

local device, inet, unix = llsocket.device, llsocket.inet, llsocket.unix
local AF_INET, AF_INET6 = llsocket.AF_INET, llsocket.AF_INET6
local SOCK_DGRAM, SOCK_STREAM = llsocket.SOCK_DGRAM, llsocket.SOCK_STREAM
local setup, teardown = objects.setup, objects.teardown
local results, raises = objects.results, objects.raises
local address, path_address = objects.address, objects.path_address
local NOTHING = objects.NOTHING

describe("llsocket", function()
    before_each(setup)
    after_each(teardown)

    -- Under their original names, each also by itself.
    for name, member in pairs({
        ["llsocket"] = "socket",
        ["llsocket.device"] = "macaddrs",
        ["llsocket.inet"] = "getaddrinfo",
        ["llsocket.socket"] = "pair",
        ["llsocket.unix"] = "getaddrinfo",
    }) do
        it("is found in the folder of drop-ins as " .. name, function()
            local program = support.spit(support.tmpname(), ([[
                local before = {}
                for key in pairs(_G) do before[key] = true end
                print(type(require(%q).%s))
                for key in pairs(_G) do
                    if not before[key] then print("global", key) end
                end
            ]]):format(name, member))
            local here = lfs.currentdir()
            local expected = member == "socket" and "table" or "function"
            local output, status = support.shell(
                ("LUA_PATH='%s/minisock/dropin/?.lua;%s/?.lua;;' %s %s")
                    :format(here, here, support.luajit, program))
            assert.are.equal(expected .. "\n", output)
            assert.are.equal(0, status)
        end)
    end

    it("works with only the submodules required", function()
        local program = support.spit(support.tmpname(), [[
            local inet = require "llsocket.inet"
            local socket = require "llsocket.socket"
            local ai = inet.getaddrinfo("127.0.0.1", "0", 1)[1]
            local s = socket.new(ai)
            assert(not s:bind() and not s:listen())
            local c = socket.new(s:getsockname())
            assert(not c:connect())
            print(c:send("hi"), s:accept():recv())
        ]])
        local here = lfs.currentdir()
        local output = support.shell(
            ("LUA_PATH='%s/minisock/dropin/?.lua;%s/?.lua;;' %s %s")
                :format(here, here, support.luajit, program))
        assert.are.equal("2\thi\n", output)
    end)

    local CONSTANTS = [[
        AF_UNSPEC AF_INET AF_INET6 AF_UNIX
        AI_PASSIVE AI_CANONNAME AI_NUMERICHOST AI_NUMERICSERV AI_ALL
        AI_ADDRCONFIG AI_V4MAPPED
        IPPROTO_IP IPPROTO_HOPOPTS IPPROTO_ICMP IPPROTO_IGMP IPPROTO_IPIP
        IPPROTO_TCP IPPROTO_EGP IPPROTO_PUP IPPROTO_UDP IPPROTO_IDP IPPROTO_TP
        IPPROTO_IPV6 IPPROTO_ROUTING IPPROTO_FRAGMENT IPPROTO_RSVP IPPROTO_GRE
        IPPROTO_ESP IPPROTO_AH IPPROTO_ICMPV6 IPPROTO_NONE IPPROTO_DSTOPTS
        IPPROTO_MTP IPPROTO_ENCAP IPPROTO_PIM IPPROTO_SCTP IPPROTO_RAW
        MSG_CMSG_CLOEXEC MSG_CONFIRM MSG_CTRUNC MSG_DONTROUTE MSG_DONTWAIT
        MSG_EOR MSG_ERRQUEUE MSG_MORE MSG_NOSIGNAL MSG_OOB MSG_PEEK MSG_TRUNC
        MSG_WAITALL
        NI_NOFQDN NI_NUMERICHOST NI_NAMEREQD NI_NUMERICSERV NI_DGRAM
        SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET
        SHUT_RD SHUT_WR SHUT_RDWR
    ]]

    for name in CONSTANTS:gmatch("%S+") do
        it("has " .. name, function()
            assert.is_number(llsocket[name])
        end)
    end

    -- What the original lists, and other systems have.
    local MISSING = [[
        AI_V4MAPPED_CFG AI_DEFAULT NI_WITHSCOPEID
        GGP IPV4 ST PIGP RCCMON NVPII ARGUS EMCON XNET CHAOS MUX MEAS HMP PRM
        TRUNK1 TRUNK2 LEAF1 LEAF2 RDP IRTP BLT NSP INP SEP 3PC IDPR XTP DDP
        CMTP TPXX IL SDRP IDRP MHRP BHA INLSP SWIPE NHRP AHIP CFTP HELLO
        SATEXPAK KRYPTOLAN RVD IPPC ADFS SATMON VISA IPCV CPNX CPHB WSN PVP
        BRSATMON ND WBMON WBEXPAK EON VMTP SVMTP VINES TTP IGP DGP TCF IGRP
        OSPFIGP SRPC LARP AX25 IPEIP MICP SCCSP ETHERIP APES GMTP IPCOMP PGM
        DIVERT
    ]]

    it("has none of what Linux lacks", function()
        local count, present = 0, {}
        for name in MISSING:gmatch("%S+") do
            if not name:find("^[AN]I_") then name = "IPPROTO_" .. name end
            count = count + 1
            if llsocket[name] ~= nil then present[#present + 1] = name end
        end
        assert.are.same({}, present)
        assert.are.equal(82, count)
    end)

    it("has the numbers of the headers", function()
        local numbers = {
            IPPROTO_IP = 0, IPPROTO_TCP = 6, IPPROTO_UDP = 17,
            IPPROTO_IPV6 = 41, IPPROTO_RAW = 255, IPPROTO_SCTP = 132,
            SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2,
            MSG_OOB = 1, MSG_PEEK = 2, AI_PASSIVE = 1,
        }
        for name, number in pairs(numbers) do
            assert.are.equal(number, llsocket[name])
        end
    end)

    it("passes on no function of what it stands on", function()
        assert.is_nil(llsocket.connect)
        assert.is_nil(llsocket.VERSION)
        assert.is_nil(llsocket[1])
    end)
end)

describe("llsocket.inet.getaddrinfo", function()
    before_each(setup)
    after_each(teardown)

    it("lists address infos of every family", function()
        local list = assert(inet.getaddrinfo("127.0.0.1", "80", SOCK_STREAM))
        assert.are.equal(1, #list)
        local ai = list[1]
        assert.are.equal(AF_INET, ai:family())
        assert.are.equal(SOCK_STREAM, ai:socktype())
        assert.are.equal(llsocket.IPPROTO_TCP, ai:protocol())
        assert.are.same({ "127.0.0.1", 80 }, ai:addr())
    end)

    it("lists IPv6 too", function()
        local list = assert(inet.getaddrinfo("::1", "80", SOCK_STREAM))
        assert.are.equal(AF_INET6, list[1]:family())
    end)

    it("lists every type when none is given", function()
        local seen = {}
        for _, ai in ipairs(assert(inet.getaddrinfo("127.0.0.1", "80"))) do
            seen[ai:socktype()] = true
        end
        assert.is_true(seen[SOCK_STREAM] and seen[SOCK_DGRAM])
    end)

    it("takes a protocol", function()
        local list = assert(inet.getaddrinfo("127.0.0.1", "80", nil,
            llsocket.IPPROTO_UDP))
        assert.are.equal(1, #list)
        assert.are.equal(SOCK_DGRAM, list[1]:socktype())
    end)

    it("knows services by name", function()
        local list = assert(inet.getaddrinfo("127.0.0.1", "http",
            SOCK_STREAM))
        assert.are.same({ "127.0.0.1", 80 }, list[1]:addr())
    end)

    it("takes a host without a port", function()
        local list = assert(inet.getaddrinfo("127.0.0.1"))
        assert.are.same({ "127.0.0.1", 0 }, list[1]:addr())
    end)

    it("takes a port without a host", function()
        local function hosts(...)
            local found = {}
            local list = assert(inet.getaddrinfo(nil, "80", SOCK_STREAM, 0,
                ...))
            for _, ai in ipairs(list) do found[ai:addr()[1]] = true end
            return found
        end
        assert.is_true(hosts()["127.0.0.1"])
        assert.is_true(hosts(nil, llsocket.AI_PASSIVE)["0.0.0.0"])
    end)

    it("says that neither host nor port is no name", function()
        assert.are.same({ n = 2, nil, "Name or service not known" },
            results(inet.getaddrinfo()))
    end)

    it("joins its flags, nil among them", function()
        assert.are.same({ n = 2, nil, "Name or service not known" },
            results(inet.getaddrinfo("localhost", "80", SOCK_STREAM, 0,
                llsocket.AI_PASSIVE, nil, llsocket.AI_NUMERICHOST)))
    end)

    it("says what the resolver says", function()
        assert.are.same(
            { n = 2, nil, "Servname not supported for ai_socktype" },
            results(inet.getaddrinfo("127.0.0.1", "no-such-service",
                SOCK_STREAM)))
    end)

    for name, arguments in pairs({
        ["a number as host"] = { 1, "80" },
        ["a number as port"] = { "127.0.0.1", 80 },
        ["a string as socktype"] = { "127.0.0.1", "80", "1" },
        ["a string as protocol"] = { "127.0.0.1", "80", 1, "6" },
        ["a string as flag"] = { "127.0.0.1", "80", 1, 6, "1" },
        ["half a flag"] = { "127.0.0.1", "80", 1, 6, 0.5 },
    }) do
        it("raises for " .. name, function()
            for _, call in ipairs({ "getaddrinfo", "getaddrinfo6" }) do
                raises("bad argument #%d to '" .. call .. "'", function()
                    return inet[call](unpack(arguments, 1, 5)), nil
                end)
            end
        end)
    end
end)

describe("llsocket.inet.getaddrinfo6", function()
    before_each(setup)
    after_each(teardown)

    it("lists IPv6 addresses alone", function()
        local list = assert(inet.getaddrinfo6(nil, "80", SOCK_STREAM, 0,
            llsocket.AI_PASSIVE))
        assert.are.equal(1, #list)
        assert.are.equal(AF_INET6, list[1]:family())
        assert.are.same({ "::", 80 }, list[1]:addr())
    end)

    it("refuses an IPv4 address", function()
        local list, message = inet.getaddrinfo6("127.0.0.1", "80")
        assert.is_nil(list)
        assert.are.equal("Address family for hostname not supported", message)
    end)
end)

describe("llsocket.unix.getaddrinfo", function()
    before_each(setup)
    after_each(teardown)

    it("gives an address info", function()
        local ai = assert(unix.getaddrinfo("/tmp/x", SOCK_STREAM))
        assert.are.equal(llsocket.AF_UNIX, ai:family())
        assert.are.equal(SOCK_STREAM, ai:socktype())
        assert.are.equal(0, ai:protocol())
        assert.are.same({ "/tmp/x" }, ai:addr())
    end)

    -- The original's code gives one, its documentation a list.
    it("gives a list of itself, too", function()
        local ai = assert(unix.getaddrinfo("/tmp/x"))
        local seen = {}
        for _, one in ipairs(ai) do seen[#seen + 1] = one end
        assert.are.equal(1, #seen)
        assert.are.equal(ai, seen[1])
    end)

    it("has a type and protocol of 0 by default, and takes flags", function()
        local ai = assert(unix.getaddrinfo("/tmp/x", nil, nil, 1, nil, 2))
        assert.are.equal(0, ai:socktype())
        assert.are.equal(0, ai:protocol())
    end)

    it("takes a path of 108 bytes, and no more", function()
        local path = "/tmp/" .. ("x"):rep(103)
        assert.are.same({ path }, unix.getaddrinfo(path):addr())
        assert.are.same({ n = 2, nil, "File name too long" },
            results(unix.getaddrinfo(path .. "x")))
    end)

    it("makes nothing of an @", function()
        assert.are.same({ "@name" }, unix.getaddrinfo("@name"):addr())
    end)

    it("raises for what isn't a string, a number", function()
        for _, arguments in ipairs({ { n = 0 }, { 1 }, { "x", "1" },
                { "x", 1, "0" }, { "x", 1, 0, "0" } }) do
            raises("bad argument #%d to 'getaddrinfo'", function()
                return unix.getaddrinfo(unpack(arguments, 1, 4)), nil
            end)
        end
    end)
end)

describe("an llsocket.addrinfo", function()
    before_each(setup)
    after_each(teardown)

    it("says what it is", function()
        assert.matches("^llsocket%.addrinfo: 0x%x+$", tostring(address()))
    end)

    it("has an IPv6 address", function()
        assert.are.same({ "::1", 80 }, address("::1", "80"):addr())
    end)

    it("has an abstract name without padding", function()
        assert.are.same({ "\0name" }, path_address("\0name"):addr())
    end)

    for _, call in ipairs({ "nameinfo", "getnameinfo" }) do
        it("has the names of host and service as " .. call, function()
            local ai = address("127.0.0.1", "80")
            local names = assert(ai[call](ai, llsocket.NI_NUMERICHOST, nil,
                llsocket.NI_NUMERICSERV))
            assert.are.same(
                { host = "127.0.0.1", service = "80", serv = "80" }, names)
        end)
    end

    it("has the name of a service", function()
        local names = assert(address("127.0.0.1", "80")
            :getnameinfo(llsocket.NI_NUMERICHOST))
        assert.are.equal("http", names.service)
    end)

    it("says what the resolver says of a name", function()
        local ai = address("192.0.2.255", "80")
        assert.are.same({ n = 2, nil, "Bad value for ai_flags" },
            results(ai:getnameinfo(2^20)))
    end)

    it("raises for flags that aren't numbers", function()
        local ai = address()
        raises("bad argument #2 to 'getnameinfo'",
            function() ai:getnameinfo(0, "1") end)
    end)

    it("has a canonical name, when that was asked for", function()
        local list = assert(inet.getaddrinfo("127.0.0.1", nil, SOCK_STREAM,
            0, llsocket.AI_CANONNAME))
        assert.are.same({ n = 1, "127.0.0.1" },
            results(list[1]:canonname()))
        assert.are.same({ n = 1, "127.0.0.1" },
            results(list[1]:cannoname()))
    end)

    it("has no canonical name otherwise", function()
        assert.are.same(NOTHING, results(address():canonname()))
        assert.are.same(NOTHING, results(address():cannoname()))
    end)
end)

describe("llsocket.device.macaddrs", function()
    it("has the hardware addresses that the kernel tells", function()
        local addresses = assert(device.macaddrs())
        assert.is_nil(addresses.lo)
        for name, mac in pairs(addresses) do
            local told = support.slurp("/sys/class/net/" .. name .. "/address")
            assert.are.equal(told, mac .. "\n")
        end
    end)

    it("has the running interfaces that have an IPv4 address", function()
        local expected = {}
        for _, one in ipairs(ms.getinterfaces()) do
            if one.family == "inet" and one.name ~= "lo"
                    and bit.band(one.flags, ms.IFF_RUNNING) ~= 0 then
                expected[one.name] = true
            end
        end
        local found = {}
        for name in pairs(assert(device.macaddrs())) do found[name] = true end
        assert.are.same(expected, found)
    end)
end)

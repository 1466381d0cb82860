local bit = require "bit"
local ffi = require "ffi"
local ms = require "minisock"
local support = require "spec.support"

local keep = support.keep
local has_buffers, string_buffer = pcall(require, "string.buffer")

ffi.cdef [[
struct minisock_spec_record {
    int number;
    uint8_t bytes[8];
    const uint8_t fixed[8];
};
]]

-- A test that needs string.buffer, which an older LuaJIT doesn't have.
local function it_buffers(name, test)
    it(name, function()
        if not has_buffers then return pending("no string.buffer here") end
        test()
    end)
end

local function buffer_of(text)
    return string_buffer.new():put(text)
end

-- Bytes without a period that a wrong offset could hide behind.
local function noise(size)
    local bytes = ffi.new("uint8_t[?]", size)
    local state = 12345
    for i = 0, size - 1 do
        state = (state * 16807) % 2147483647
        bytes[i] = state
    end
    return ffi.string(bytes, size)
end

local function sha256(text)
    local name = support.tmpname()
    local file = assert(io.open(name, "wb"))
    file:write(text)
    file:close()
    local pipe = io.popen("sha256sum " .. name)
    local sum = pipe:read("*a"):match("^%x+")
    pipe:close()
    return sum
end

-- A server in Python that takes one connection, and what it does with it.
local function python_server(code)
    local process = support.spawn(([[python3 -c '
import socket, hashlib
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
print(s.getsockname()[1], flush=True)
c = s.accept()[0]
%s']]):format(code))
    local port = process:expect("^(%d+)$")
    return keep(ms.connect("127.0.0.1", port, 5000)), process
end

local SUM = [[
h = hashlib.sha256(); n = 0
while True:
    data = c.recv(100000)
    if not data: break
    h.update(data); n += len(data)
print(n, h.hexdigest(), flush=True)]]

describe("sendall", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- What arrives of what sendall sent, and sendall's results.
    local function delivered(...)
        local a, b = support.pair()
        local sent, message, code, partial = ms.sendall(a, ...)
        ms.shutdown(a, ms.SHUT_WR)
        return ms.read(b, 2000), sent, message, code, partial
    end

    it("sends a string", function()
        local got, sent = delivered("a\0b")
        assert.are.equal("a\0b", got)
        assert.are.equal(3, sent)
    end)

    it("sends a number as its digits", function()
        local got, sent = delivered(1234.5, 2000)
        assert.are.equal("1234.5", got)
        assert.are.equal(6, sent)
    end)

    it("sends the first n bytes of a string", function()
        local got, sent = delivered("abcdef", 2000, 4)
        assert.are.equal("abcd", got)
        assert.are.equal(4, sent)
    end)

    it("sends nothing, and says so", function()
        for _, arguments in ipairs({
            { "" }, { "abc", 2000, 0 }, { ffi.new("char[4]"), 2000, 0 },
        }) do
            local got, sent = delivered(unpack(arguments))
            assert.are.equal("", got)
            assert.are.equal(0, sent)
        end
    end)

    it("raises for more than there is", function()
        local a = support.pair()
        for _, data in ipairs({ "abc", ffi.new("char[3]"),
                ffi.new("uint8_t[?]", 3) }) do
            assert.has_error(function() ms.sendall(a, data, 0, 4) end)
            assert.has_error(function() ms.sendall(a, data, 0, -1) end)
            assert.has_error(function() ms.sendall(a, data, 0, 2^32) end)
        end
    end)

    it_buffers("consumes what it sent of a string.buffer", function()
        local buffer = buffer_of("abcdef")
        assert.are.equal("abcd", (delivered(buffer, 2000, 4)))
        assert.are.equal("ef", buffer:tostring())
        local got, sent = delivered(buffer)
        assert.are.equal("ef", got)
        assert.are.equal(2, sent)
        assert.are.equal(0, #buffer)
    end)

    it_buffers("sends nothing of an empty string.buffer", function()
        local got, sent = delivered(string_buffer.new())
        assert.are.equal("", got)
        assert.are.equal(0, sent)
    end)

    it_buffers("raises for more than a string.buffer holds", function()
        local a = support.pair()
        local buffer = buffer_of("abc")
        assert.has_error(function() ms.sendall(a, buffer, 0, 4) end)
        assert.are.equal("abc", buffer:tostring())
    end)

    local text = ffi.new("char[7]", "abcdef")
    local record = ffi.new("struct minisock_spec_record",
        { 0, { 97, 98, 99 }, { 100, 101, 102 } })
    for name, data in pairs({
        ["an array"] = text,
        ["an array of variable length"] = ffi.new("uint8_t[?]", 6),
        ["a constant array"] = ffi.new("const char[7]", "abcdef"),
        ["a pointer to char"] = ffi.cast("char *", text),
        ["a pointer to constants"] = ffi.cast("const char *", text),
        ["a pointer to uint8_t"] = ffi.cast("uint8_t *", text),
        ["a pointer to void"] = ffi.cast("void *", text),
        ["an array in a structure"] = record.bytes,
    }) do
        it("sends n bytes of " .. name, function()
            ffi.copy(text, "abcdef")
            if name == "an array of variable length" then
                ffi.copy(data, "abcdef", 6)
            end
            local got, sent = delivered(data, 2000, 3)
            assert.are.equal("abc", got)
            assert.are.equal(3, sent)
        end)

        it("needs n for " .. name, function()
            local a = support.pair()
            assert.has_error(function() ms.sendall(a, data) end)
        end)
    end

    it("measures an array by its bytes", function()
        local numbers = ffi.new("uint32_t[2]", 0x61616161, 0x62626262)
        assert.are.equal("aaaabbbb", (delivered(numbers, 2000, 8)))
        assert.has_error(function() delivered(numbers, 2000, 9) end)
    end)

    it("fails for a NULL pointer", function()
        if support.valgrind then return pending("valgrind objects") end
        local a = support.pair()
        assert.are.equal(ms.EFAULT,
            select(3, ms.sendall(a, ffi.cast("char *", nil), 2000, 4)))
    end)

    it("refuses what holds no bytes", function()
        local a = support.pair()
        for _, data in ipairs({ false, { 5 }, print, io.stdout, 5LL,
                record, ffi.cast("int (*)(void)", 0) }) do
            assert.has_error(function() ms.sendall(a, data, 0, 1) end)
        end
    end)

    for name, make in pairs({ socket = support.pair,
            ["TCP connection"] = support.connection }) do
        it("times out on a " .. name .. " that isn't read", function()
            local a = make()
            local took, sent, message, code =
                support.timed(ms.sendall, a, noise(8 * 2^20), 60)
            assert.is_nil(sent)
            assert.are.equal("sendall timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            assert.is_true(took >= 60)
        end)

        it("tries once with timeout 0 on a " .. name, function()
            local a = make()
            assert.are.equal(3, ms.sendall(a, "abc", 0))
            support.fill(a)
            local sent, message, _, partial = ms.sendall(a, "abc", 0)
            assert.is_nil(sent)
            assert.are.equal("sendall timeout", message)
            assert.are.equal(0, partial)
        end)

        it("says how much it sent on a " .. name
            .. " before a timeout", function()
            local a, b = make()
            local data = noise(8 * 2^20)
            local _, _, _, partial = ms.sendall(a, data, 20)
            assert.is_true(partial > 0 and partial < #data)
            ms.shutdown(a, ms.SHUT_WR)
            local pieces = {}
            repeat
                local piece = assert(ms.read(b, 5000, 2^20))
                pieces[#pieces + 1] = piece
            until piece == ""
            assert.is_true(table.concat(pieces) == data:sub(1, partial))
        end)
    end

    it("waits for ever by default, and on a non-blocking descriptor too",
        function()
            local data = noise(4 * 2^20)
            for _, on in ipairs({ true, false }) do
                local client, server = python_server(SUM)
                ms.setnonblocking(client, on)
                assert.are.equal(#data, ms.sendall(client, data))
                ms.shutdown(client, ms.SHUT_WR)
                assert.are.equal(("%d %s"):format(#data, sha256(data)),
                    server:line())
            end
        end)

    it("sends a lot to a reader against a deadline", function()
        local data = noise(16 * 2^20)
        local client, server = python_server(SUM)
        assert.are.equal(#data, ms.sendall(client, data, 60000))
        ms.shutdown(client, ms.SHUT_WR)
        assert.are.equal(("%d %s"):format(#data, sha256(data)),
            server:line())
    end)

    it("says how much it sent before the peer went away", function()
        local client = python_server("c.recv(100000, socket.MSG_WAITALL)\n"
            .. "c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, "
            .. "b\"\\1\\0\\0\\0\\0\\0\\0\\0\")\nc.close()")
        local data = noise(16 * 2^20)
        local sent, message, code, partial = ms.sendall(client, data, 60000)
        assert.is_nil(sent)
        assert.is_true(code == ms.EPIPE or code == ms.ECONNRESET)
        assert.matches("^sendall error: %d+ ", message)
        assert.is_true(partial >= 100000 and partial < #data)
    end)

    it_buffers("leaves in a string.buffer what it didn't send", function()
        local a = support.pair()
        local data = noise(4 * 2^20)
        local buffer = buffer_of(data)
        local sent, _, code, partial = ms.sendall(a, buffer, 20)
        assert.is_nil(sent)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(partial > 0)
        assert.are.equal(#data - partial, #buffer)
        assert.is_true(buffer:tostring() == data:sub(partial + 1))
    end)

    it_buffers("leaves a string.buffer alone when nothing was sent",
        function()
            local a, b = support.pair()
            local buffer = buffer_of("abc")
            ms.close(b)
            local sent, message, code, partial = ms.sendall(a, buffer)
            assert.is_nil(sent)
            assert.are.equal("sendall error: 32 Broken pipe", message)
            assert.are.equal(ms.EPIPE, code)
            assert.are.equal(0, partial)
            assert.are.equal("abc", buffer:tostring())
        end)

    it("sends through a pipe", function()
        local reader, writer = support.pipe()
        assert.are.equal(5, ms.sendall(writer, "bytes"))
        assert.are.equal(2, ms.sendall(writer, "by", 2000))
        assert.are.equal("bytesby", ms.read(reader, 2000))
    end)

    for name, timeout in pairs({ ["for ever"] = math.huge,
            ["a deadline"] = 60000 }) do
        it("sends a lot through a pipe, with " .. name, function()
            local data = noise(2 * 2^20)
            local reader, writer = support.pipe()
            -- The copy is what the program inherits.
            local inherited = support.dup2(reader, 60)
            local process = support.spawn("sha256sum /dev/fd/60")
            ms.close(inherited)
            assert.are.equal(#data, ms.sendall(writer, data, timeout))
            ms.close(writer)
            ms.close(reader)
            assert.are.equal(sha256(data), process:expect("^(%x+)"))
        end)
    end

    it("times out on a blocking pipe, and leaves it so", function()
        local _, writer = support.pipe()
        local flags = support.descriptor_flags(writer)
        local took, sent, message, code =
            support.timed(ms.sendall, writer, noise(2^20), 60)
        assert.is_nil(sent)
        assert.are.equal("sendall timeout", message)
        assert.are.equal(ms.ETIMEDOUT, code)
        assert.is_true(took >= 60)
        assert.are.equal(flags, support.descriptor_flags(writer))
        assert.are.equal(0, bit.band(flags, ms.SOCK_NONBLOCK))
    end)

    it("says how much went into a pipe before a timeout", function()
        local reader, writer = support.pipe()
        local data = noise(2^20)
        local _, _, _, partial = ms.sendall(writer, data, 20)
        assert.is_true(partial > 0 and partial < #data)
        assert.is_true(
            ms.read(reader, 0, 2^20) == data:sub(1, partial))
    end)

    it("fails on a descriptor that isn't open, at once", function()
        for _, timeout in ipairs({ 60000, math.huge }) do
            for _, data in ipairs({ "x", "" }) do
                local sent, message, code, partial =
                    ms.sendall(-1, data, timeout)
                assert.is_nil(sent)
                assert.are.equal("sendall error: 9 Bad file descriptor",
                    message)
                assert.are.equal(ms.EBADF, code)
                assert.are.equal(0, partial)
            end
        end
    end)
end)

describe("readinto", function()
    before_each(support.setup)
    after_each(support.teardown)

    -- A descriptor on which there is the text, and then the end.
    local function holding(text)
        local a, b = support.pair()
        ms.sendall(a, text, 2000)
        ms.shutdown(a, ms.SHUT_WR)
        return b
    end

    it_buffers("appends to a string.buffer", function()
        local buffer = buffer_of("head ")
        assert.are.equal(5, ms.readinto(holding("a\0b\0c"), buffer))
        assert.are.equal("head a\0b\0c", buffer:tostring())
    end)

    it_buffers("takes no more than max into a string.buffer", function()
        local fd, buffer = holding("abcdef"), string_buffer.new()
        assert.are.equal(2, ms.readinto(fd, buffer, 2000, 2))
        assert.are.equal("ab", buffer:tostring())
        assert.are.equal(4, ms.readinto(fd, buffer, 2000, 2^31 - 1))
        assert.are.equal("abcdef", buffer:tostring())
    end)

    it_buffers("takes up to 64 KiB without max", function()
        local buffer = string_buffer.new()
        assert.are.equal(65536,
            ms.readinto(holding(noise(100000)), buffer))
        assert.is_true(buffer:tostring() == noise(100000):sub(1, 65536))
    end)

    it_buffers("returns 0 at the end, again and again", function()
        local fd, buffer = holding(""), buffer_of("head")
        for _ = 1, 3 do
            assert.are.equal(0, ms.readinto(fd, buffer, 2000))
        end
        assert.are.equal("head", buffer:tostring())
    end)

    it_buffers("keeps what a string.buffer holds when it fails", function()
        local a, b = support.pair()
        local buffer = buffer_of("head")
        assert.are.equal("readinto timeout",
            select(2, ms.readinto(a, buffer, 20)))
        assert.are.equal("head", buffer:tostring())
        assert.are.equal(ms.EBADF, select(3, ms.readinto(-1, buffer)))
        assert.are.equal("head", buffer:tostring())
        ms.write(b, " tail")
        ms.readinto(a, buffer)
        assert.are.equal("head tail", buffer:tostring())
    end)

    it_buffers("keeps what is left of a string.buffer in use", function()
        local buffer = buffer_of("skipped kept")
        buffer:skip(8)
        ms.readinto(holding(" new"), buffer)
        assert.are.equal("kept new", buffer:tostring())
    end)

    local record = ffi.new("struct minisock_spec_record")
    local array = ffi.new("char[8]")
    for name, memory in pairs({
        ["an array"] = array,
        ["an array of variable length"] = ffi.new("uint8_t[?]", 8),
        ["an array in a structure"] = record.bytes,
        ["a pointer to char"] = ffi.cast("char *", array),
        ["a pointer to uint8_t"] = ffi.cast("uint8_t *", array),
        ["a pointer to void"] = ffi.cast("void *", array),
        ["an array of numbers"] = ffi.new("uint32_t[2]"),
    }) do
        it("writes into " .. name, function()
            ffi.fill(memory, 8, 33)
            assert.are.equal(3, ms.readinto(holding("abc"), memory, 2000, 8))
            assert.are.equal("abc!!!!!", ffi.string(memory, 8))
        end)

        it("takes no more than max into " .. name, function()
            local fd = holding("abcdef")
            ffi.fill(memory, 8, 33)
            assert.are.equal(2, ms.readinto(fd, memory, 2000, 2))
            assert.are.equal("ab!!!!!!", ffi.string(memory, 8))
            assert.are.equal("cdef", ms.read(fd, 2000))
        end)

        it("needs max for " .. name, function()
            local fd = holding("abc")
            assert.has_error(function() ms.readinto(fd, memory, 2000) end)
            assert.has_error(function() ms.readinto(fd, memory, 2000, 0) end)
        end)
    end

    it("raises when an array is smaller than max", function()
        local fd = holding("abcdefghijkl")
        for _, memory in ipairs({ ffi.new("char[8]"),
                ffi.new("uint8_t[?]", 8), ffi.new("uint32_t[2]"),
                record.bytes }) do
            assert.has_error(function() ms.readinto(fd, memory, 0, 9) end)
        end
        assert.are.equal("abcdefghijkl", ms.read(fd, 2000))
    end)

    it("refuses constant memory", function()
        local fd = holding("abc")
        local text = ffi.new("char[8]")
        for _, memory in ipairs({
            ffi.cast("const char *", text), ffi.cast("const uint8_t *", text),
            ffi.cast("const void *", text), ffi.new("const char[8]"),
            record.fixed,
        }) do
            assert.has_error(function() ms.readinto(fd, memory, 0, 3) end)
        end
        assert.are.equal("abc", ms.read(fd, 2000))
    end)

    it("refuses what isn't memory", function()
        local fd = holding("abc")
        for _, memory in ipairs({ "text", 5, {}, print, io.stdout, 5LL,
                record, ffi.cast("int (*)(void)", 0) }) do
            assert.has_error(function() ms.readinto(fd, memory, 0, 1) end)
        end
        assert.has_error(function() ms.readinto(fd, nil, 0, 1) end)
        assert.are.equal("abc", ms.read(fd, 2000))
    end)

    it("fails for a NULL pointer, and loses nothing", function()
        if support.valgrind then return pending("valgrind objects") end
        local fd = holding("abc")
        assert.are.equal(ms.EFAULT,
            select(3, ms.readinto(fd, ffi.cast("char *", nil), 2000, 4)))
        assert.are.equal("abc", ms.read(fd, 2000))
    end)

    for name, make in pairs({ socket = support.pair, pipe = support.pipe }) do
        it("times out on a " .. name, function()
            local fd = make()
            local took, n, message, code =
                support.timed(ms.readinto, fd, array, 60, 8)
            assert.is_nil(n)
            assert.are.equal("readinto timeout", message)
            assert.are.equal(ms.ETIMEDOUT, code)
            assert.is_true(took >= 60)
        end)
    end

    it("reads a pipe to its end", function()
        local reader, writer = support.pipe()
        ms.write(writer, "abc")
        ms.close(writer)
        assert.are.equal(3, ms.readinto(reader, array, 2000, 8))
        assert.are.equal("abc", ffi.string(array, 3))
        assert.are.equal(0, ms.readinto(reader, array, 2000, 8))
    end)

    it("is the same when it is compiled", function()
        local a, b = support.pair()
        local memory, variable = ffi.new("char[4]"), ffi.new("char[?]", 4)
        local arrived = 0
        for i = 1, 300 do
            local into = i % 2 == 0 and memory or variable
            ms.sendall(a, memory, 2000, 4)
            arrived = arrived + ms.readinto(b, into, 2000, 4)
        end
        assert.are.equal(1200, arrived)
        assert.has_error(function()
            for _ = 1, 300 do ms.readinto(b, memory, 0, 5) end
        end)
    end)

    it("takes a lot from another's process", function()
        local client = python_server(
            "c.sendall(bytes(i * i % 251 for i in range(1000000)))")
        local memory = ffi.new("uint8_t[?]", 65536)
        local count, wrong = 0, 0
        repeat
            local n = assert(ms.readinto(client, memory, 30000, 65536))
            for i = 0, n - 1 do
                local at = count + i
                if memory[i] ~= at * at % 251 then wrong = wrong + 1 end
            end
            count = count + n
        until n == 0
        assert.are.equal(1000000, count)
        assert.are.equal(0, wrong)
    end)
end)

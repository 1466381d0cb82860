--- The benchmark's tables in Markdown, and its chart.
local workloads = require "bench.workloads"

local report = {}

local function lines_of(program)
    local pipe = assert(io.popen(program .. " 2>/dev/null"))
    local text = pipe:read("*a"):gsub("%s+$", "")
    pipe:close()
    return text
end

--- The median, the least and the greatest of a list.
local function spread(list)
    local sorted = { unpack(list) }
    table.sort(sorted)
    local middle = (#sorted + 1) / 2
    local median =
        (sorted[math.floor(middle)] + sorted[math.ceil(middle)]) / 2
    return median, sorted[1], sorted[#sorted]
end

local function ratio_cell(ratios, missing)
    if not ratios then return missing or "n/a" end
    return ("%.2f (%.2f-%.2f)"):format(spread(ratios))
end

local function count_cell(count)
    if not count then return "n/a" end
    local format = count > 0 and count < 0.05 and "%.3f"
        or count < 100 and count % 1 > 0 and "%.2f" or "%.0f"
    return format:format(count)
end

local function memory_cell(result)
    if not result then return "n/a" end
    return ("%.2f, %.2f"):format(math.max(0, result.heap), result.resident)
end

-- The C column, then the libraries.
local function table_line(first, floor, cell)
    local cells = { first, floor }
    for _, library in ipairs(workloads.libraries) do
        cells[#cells + 1] = cell(library)
    end
    return "| " .. table.concat(cells, " | ") .. " |\n"
end

local function table_head(first, floor)
    return table_line(first, floor, function(library) return library.title end)
        .. table_line("---", "---", function() return "---" end)
end

-- One table of a field of the results, over all groups; nothing where no row
-- has it.
local function results_table(results, rows, field, floor_title, cell)
    local body = {}
    for _, row in ipairs(rows) do
        local result = results.rows[row.name]
        local values = result and result[field]
        if values and next(values) then
            body[#body + 1] = table_line(row.name, cell(values.floor),
                function(library)
                    local name = library.name
                    return cell(values[name], result.missing[name])
                end)
        end
    end
    if #body == 0 then return "" end
    return table_head("", floor_title) .. table.concat(body) .. "\n"
end

local function all_rows()
    local rows = {}
    for _, group in ipairs(workloads.groups) do
        for _, row in ipairs(group.rows) do rows[#rows + 1] = row end
    end
    return rows
end

local function speed_tables(results)
    local parts = {}
    for _, group in ipairs(workloads.groups) do
        local text = results_table(results, group.rows, "ratios", "C again",
            ratio_cell)
        if text ~= "" then
            parts[#parts + 1] = "### " .. group.title .. "\n\n" .. text
        end
    end
    return table.concat(parts)
end

local function memory_table(results)
    local memory = results.memory
    if not memory then return "" end
    return "## Memory of a connection, KiB: Lua heap, resident\n\n"
        .. table_head("", "C")
        .. table_line("memory", memory_cell(memory.floor), function(library)
            return memory_cell(memory[library.name])
        end) .. "\n"
end

local function counts_section(results, title, field)
    if not results.by[field] then return "" end
    local text = results_table(results, all_rows(), field, "C",
        count_cell)
    if text == "" then return "" end
    return ("## %s (%s)\n\n%s"):format(title, results.by[field], text)
end

local PACKAGES = "lua-socket lua-posix lua-luv lua-cqueues"

local function machine(results)
    return ([[
%s; %s; %s CPUs, of which one is used; %s; %s;
%s. %d rounds, %s.
]]):format(os.date("!%Y-%m-%d"), lines_of("uname -srm"), lines_of("nproc"),
        lines_of("sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1"),
        lines_of((os.getenv("LUAJIT") or "luajit") .. " -v | cut -d' ' -f1-2"),
        lines_of("dpkg-query -W -f '${Package} ${Version}, ' " .. PACKAGES)
            :gsub(",$", ""),
        results.rounds, "interleaved")
end

local NOTES = [[
Speed is a ratio to a C program that makes the same system calls on buffers
that are there (C = 1, more is faster): the median of all rounds, and in
brackets the least and the greatest. "C again" is that program against itself:
what differs by less than it does, doesn't differ. "bare FFI" is
[what LuaJIT itself allows](../libraries/bare.lua): the C call and a string of
what came, with nothing checked; what a library that gives strings lacks to C,
and this lacks too, is what LuaJIT's strings cost. n/a: the library has no such
operation, or can't have so many descriptors, or bare FFI would make no string.

The rows are explained in [workloads.lua](../workloads.lua): "-heap" is with
50 MB of live Lua data; "-joff" is without the JIT compiler; the C program of
`lines` makes one read of 64 bytes for a line, that of `lines-buffered-C` reads
64 KiB and looks for the line; `recvfrom` and `receive-batch` compare CPU time
of the client, all others time, and bare FFI makes a string of the message, not
of its sender, for whom "minisock, buffers" doesn't ask in `recvfrom`; in the
rows `1-by-1`, C makes a call for each message, which the library sends or gets
in batches; of `require`, C is LuaJIT with an empty program. Under strace and
callgrind a client is slower than its peer, and waits less than it does alone.

callgrind counts the `rep movsb` by which glibc copies large pieces, one
instruction, once for each byte: of a string's 69,000 in `receive-unix`, 65,700
are one copy of 64 KiB, into other memory each time, where the kernel writes
all of C's to the same. How much slower that is, bare FFI's speed in that row
tells.
]]

local function text_of(results)
    return table.concat {
        "# Speed\n\n", machine(results), "\n", NOTES,
        "\n## Speed, C = 1\n\n", speed_tables(results),
        counts_section(results, "System calls per operation", "syscalls"),
        counts_section(results, "User instructions per operation",
            "instructions"),
        memory_table(results),
    }
end

-- One block for a group: name, then median, least and greatest of each
-- library. The title of its panel tells -joff.
local function chart_block(results, group)
    local lines = {}
    for _, row in ipairs(group.rows) do
        local cells = { (row.name:gsub("%-joff$", "")) }
        for _, library in ipairs(workloads.libraries) do
            local ratios = results.rows[row.name].ratios[library.name]
            cells[#cells + 1] = ratios and ("%.3f %.3f %.3f")
                :format(spread(ratios)) or "NaN NaN NaN"
        end
        lines[#lines + 1] = table.concat(cells, " ")
    end
    return table.concat(lines, "\n")
end

local function write_file(name, text)
    local file = assert(io.open(name, "w"))
    file:write(text)
    file:close()
end

local function write_chart(results, folder)
    local blocks, titles, names, sizes = {}, {}, {}, {}
    for i, group in ipairs(workloads.groups) do
        blocks[i], titles[i] = chart_block(results, group), group.title
        sizes[i] = #group.rows
    end
    for i, library in ipairs(workloads.libraries) do
        names[i] = library.title
    end
    local data = os.tmpname()
    write_file(data, table.concat(blocks, "\n\n\n") .. "\n")
    local variables = ("data='%s'; output_name='%s/speed.svg'; groups='%s'; "
        .. "libraries='%s'; sizes='%s'"):format(data, folder,
        table.concat(titles, ";"), table.concat(names, ";"),
        table.concat(sizes, " "))
    local failed = os.execute(('gnuplot -e "%s" bench/chart.gp')
        :format(variables))
    os.remove(data)
    assert(failed == 0, "gnuplot failed")
end

function report.print(results)
    print(text_of(results))
end

function report.write(results, folder)
    os.execute("mkdir -p " .. folder)
    write_file(folder .. "/results.md", (text_of(results):gsub("\n\n$", "\n")))
    write_chart(results, folder)
end

return report

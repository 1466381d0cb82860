--- Which lines no spec has come to, by what spec/coverage.lua has counted in a
--- folder and gcov beside the shim: luajit spec/coverage_report.lua <folder>
--- <folder of the shim>
local util = require "jit.util"

local function lines_of_command(command)
    local pipe = assert(io.popen(command))
    local list = {}
    for line in pipe:lines() do list[#list + 1] = line end
    pipe:close()
    return list
end

-- The lines that have code. The first instruction of a function is none.
local function add_code(lines, proto)
    local info = util.funcinfo(proto)
    for pc = 1, info.bytecodes - 1 do
        lines[util.funcinfo(proto, pc).currentline] = false
    end
    for i = -1, -info.gcconsts, -1 do
        local constant = util.funck(proto, i)
        if type(constant) == "proto" then add_code(lines, constant) end
    end
end

local function lua_files(dir)
    local files = {}
    for _, name in ipairs(lines_of_command(
            "find minisock minisock.lua -name '*.lua'")) do
        files[name] = {}
        add_code(files[name], assert(loadfile(name)))
    end
    for _, line in ipairs(lines_of_command("cat " .. dir .. "/* | sort -u")) do
        local name, number = line:match("^(%S+) (%d+)$")
        local file = files[name]
        if file and file[tonumber(number)] == false then
            file[tonumber(number)] = true
        end
    end
    return files
end

-- gcov's text: a count, "-" for no code or "#####", and the line's number.
local function add_c_files(files, dir)
    local file
    for _, line in ipairs(lines_of_command(
            "gcov -t " .. dir .. "/minisock/*.gcda")) do
        local name = line:match("^ *%-: *0:Source:(.*)$")
        if name then
            files[name] = files[name] or {}
            file = files[name]
        end
        local count, number = line:match("^ *(%S+): *(%d+):")
        if count and count ~= "-" then
            file[tonumber(number)] = count:find("^%d") ~= nil
        end
    end
end

-- 3 5-7 9
local function ranges(numbers)
    local list, first = {}, nil
    for i, number in ipairs(numbers) do
        first = first or number
        if numbers[i + 1] ~= number + 1 then
            list[#list + 1] = first == number and tostring(first)
                or first .. "-" .. number
            first = nil
        end
    end
    return table.concat(list, " ")
end

local function missed(file)
    local numbers, all = {}, 0
    for number, reached in pairs(file) do
        all = all + 1
        if not reached then numbers[#numbers + 1] = number end
    end
    table.sort(numbers)
    return numbers, all
end

local function print_line(name, all, left, text)
    print(("%-34s %6d %6d %6.1f %%  %s"):format(name, all, all - left,
        100 * (all - left) / math.max(all, 1), text))
end

local function report(title, files)
    local names, sum, sum_left = {}, 0, 0
    for name in pairs(files) do names[#names + 1] = name end
    table.sort(names)
    print(("%-34s %6s %6s %8s  missed"):format(title, "lines", "reached", ""))
    for _, name in ipairs(names) do
        local numbers, all = missed(files[name])
        print_line(name, all, #numbers, ranges(numbers))
        sum, sum_left = sum + all, sum_left + #numbers
    end
    print_line("all", sum, sum_left, "")
end

report("Lua", lua_files(arg[1]))
local c_files = {}
add_c_files(c_files, arg[2])
report("C", c_files)

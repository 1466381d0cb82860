--- All operations of the fault matrix.
for _, library in ipairs({
    "core", "socket", "luasocket", "resty", "lsocket", "llsocket",
}) do
    require("spec.faults.of_" .. library)
end

return require "spec.faults.operations"

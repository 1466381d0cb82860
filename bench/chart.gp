# A bar chart of the ratios to C, one panel for each group of workloads; the
# thin lines go from the least to the greatest. Set by report.lua: data and
# output_name; groups and libraries, separated by ";"; sizes, the number of
# workloads of each group.
set terminal svg size 1400,3400 dynamic font "sans-serif,14" \
    background rgb "white"
set output output_name

item(list, i) = system(sprintf("printf %%s '%s' | cut -d';' -f%d", list, i))
array colours[9] = ["#000000", "#08519c", "#3182bd", "#6baed6", "#bdd7e7", \
    "#d94801", "#238b45", "#756bb1", "#969696"]

set style data histogram
set style histogram errorbars gap 1.5 lw 1
set style fill solid 1 border rgb "#333333"
set bars 0
set grid ytics lc rgb "#dddddd"
set border 3
set tics nomirror
set xtics scale 0 font ",11"
set yrange [0:1.1<*]
set ylabel "speed, C = 1"
set arrow 1 from graph 0, first 1 to graph 1, first 1 nohead \
    lc rgb "black" dt 2 front

set multiplot layout words(sizes), 1 title \
    "Speed of socket libraries for LuaJIT, as a ratio to C (more is faster)"
do for [panel = 1:words(sizes)] {
    set title item(groups, panel)
    set xrange [-0.6:word(sizes, panel) - 0.3]
    if (panel == 1) { set key outside right top } else { set key off }
    set rmargin 24
    plot for [i = 1:9] data index panel - 1 \
        using 3 * i - 1:3 * i:3 * i + 1:xtic(1) \
        linecolor rgb colours[i] title item(libraries, i)
}
unset multiplot

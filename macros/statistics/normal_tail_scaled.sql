{#- An expression: exp(y²/2) · P(Z > y) for y >= 0 and Z standard normal. What is left of the tail when its
    exponential is taken out: it neither underflows nor cancels, so sums and ratios of tails keep their digits.
    `y` is a column (it is repeated).
    Source: W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23
    (1969); the coefficients in the form for the normal distribution: ANORM, ACM TOMS algorithm 715 (1993).
    Measured against scipy.special.erfcx on 0 <= y <= 1e6: 1.1e-15 relative. -#}
{% macro normal_tail_scaled(y) %}
    {%- set y = '(' ~ y ~ ')' -%}
    case
        when {{ y }} <= 0.67448975e0
        then exp({{ y }} * {{ y }} / 2) * (0.5e0 - {{ y }} * {{ flagsmith_warehouse.normal_centre(y) }})
        when {{ y }} <= 5.656854249492381e0
        then {{ flagsmith_warehouse.polynomial(y, [
            '1.0765576773720192317e-8', '.39894151208813466764', '8.8831497943883759412', '93.506656132177855979',
            '597.27027639480026226', '2494.5375852903726711', '6848.1904505362823326', '11602.651437647350124',
            '9842.7148383839780218']) }}
            / {{ flagsmith_warehouse.polynomial(y, [
            '1', '22.266688044328115691', '235.38790178262499861', '1519.377599407554805', '6485.558298266760755',
            '18615.571640885098091', '34900.952721145977266', '38912.003286093271411', '19685.429676859990727']) }}
        else (0.3989422804014326779e0 - {{ flagsmith_warehouse.polynomial('(1e0 / ' ~ y ~ ' / ' ~ y ~ ')', [
            '.02307344176494017303', '.21589853405795699', '.1274011611602473639', '.022235277870649807',
            '.001421619193227893466', '2.9112874951168792e-5']) }}
            / {{ flagsmith_warehouse.polynomial('(1e0 / ' ~ y ~ ' / ' ~ y ~ ')', [
            '1', '1.28426009614491121', '.468238212480865118', '.0659881378689285515', '.00378239633202758244',
            '7.29751555083966205e-5']) }} / {{ y }} / {{ y }}) / {{ y }}
    end
{%- endmacro %}

{#- An expression: (Φ(y) − 1/2) / y for |y| <= 0.67448975; Cody's first interval. -#}
{% macro normal_centre(y) %}
    {{- flagsmith_warehouse.polynomial(y ~ ' * ' ~ y, [
        '.065682337918207449113', '2.2352520354606839287', '161.02823106855587881', '1067.6894854603709582',
        '18154.981253343561249']) }}
    / {{ flagsmith_warehouse.polynomial(y ~ ' * ' ~ y, [
        '1', '47.20258190468824187', '976.09855173777669322', '10260.932208618978205', '45507.789335026729956']) -}}
{% endmacro %}

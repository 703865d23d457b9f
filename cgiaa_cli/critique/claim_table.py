"""The table of claim patterns: which words claim which value of which measurement. `claims` applies it."""
# ruff: noqa: E501 -- an alternative is easier to check where it is not broken over lines

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["MEASUREMENTS", "TABLE", "Pattern"]

PRESENT, ABSENT = "present", "absent"
MEASUREMENTS: dict[str, tuple[str, ...]] = {
    "exposure": ("dark", "normal", "bright"),
    "highlights": ("clipped", "kept"),
    "shadows": ("blocked", "open"),
    "contrast": ("low", "normal", "high"),
    "saturation": ("muted", "normal", "vivid"),
    "cast": ("warm", "cool", "green", "magenta", "neutral"),
    "palette": ("colour", "monochrome"),
    "sharpness": ("soft", "sharp"),
    "motion_blur": (PRESENT, ABSENT),
    "noise": ("noisy", "clean"),
    "depth": ("shallow", "deep"),
    "clutter": ("busy", "simple"),
    "tilt": ("tilted", "level"),
    "placement": ("centred", "thirds", "off_centre"),
    "space": ("empty", "balanced", "filled"),
    "symmetry": (PRESENT, ABSENT),
    "leading_lines": (PRESENT, ABSENT),
    "diagonals": (PRESENT, ABSENT),
    "silhouette": (PRESENT, ABSENT),
    "high_key": (PRESENT, ABSENT),
    "low_key": (PRESENT, ABSENT),
}

OWN: dict[str, tuple[str, ...]] = {
    "color_light": (
        "exposure", "highlights", "shadows", "contrast", "saturation", "cast", "palette", "silhouette", "high_key",
        "low_key",
    ),
    "composition": ("clutter", "tilt", "placement", "space", "symmetry", "leading_lines", "diagonals"),
    "depth_focus": ("sharpness", "motion_blur", "noise", "depth"),
    "general": tuple(MEASUREMENTS),
}  # fmt: skip
"""By attribute the measurements that a critique of it may speak of."""

_BE = (
    r"(?:is|are|was|were|looks?|seems?|appears?|feels?|being|comes? out|turned out|has been|have been|"
    r"is(?:n'?t)|are(?:n'?t)|was(?:n'?t)|doesn'?t (?:look|seem|appear|feel))"
)
_ADV = (
    r"(?:(?:a|bit|little|tad|touch|very|really|quite|so|too|slightly|rather|somewhat|pretty|way|just|fairly|nicely|"
    r"perfectly|overly|much|far|extremely|incredibly|beautifully|wonderfully|well|mostly|nice|and|also|all|overall|"
    r"to|be|that|as|kind|of|sort|still|a lot|lot|not|never|hardly)\s+){0,4}"
)
_PHOTO = r"(?:photo(?:graph)?s?|images?|pictures?|pics?|shots?|scene|frame|whole thing|it|this|exposure)"
_LIGHT = r"(?:lights?|lighting|tones?|tonality|tonal range|colou?rs?|hues?|palette|shades?)"
_GOOD = (
    r"(?:good|great|nice|excellent|perfect|lovely|superb|fine|wonderful|fantastic|beautiful|spot[- ]on|right on|ideal|"
    r"amazing|awesome|terrific|strong|pleasing|correct|right|dead on|well done|impressive|gorgeous|balanced)"
)
_DOF = r"(?:d\.?o\.?f\.?|depth[- ]of[- ]field|field of focus|focal plane|plane of focus|focus range)"
_BACK = r"(?:back[- ]?grounds?|back[- ]?drops?|bg|rest of the (?:image|frame|scene|photo))"
_CENTRE = r"cent(?:er|re)"
_BLURRED = r"(?:blurr?(?:ed|y)|out[- ]of[- ]focus|oof|de-?focus+ed|diffused|thrown out of focus)"


@dataclass(frozen=True)
class Pattern:
    """One regex and what its match claims; `wish`: only where something is wished for ("could be sharper")."""

    regex: re.Pattern[str]
    measurement: str
    value: str
    values: frozenset[str]
    wish: bool = False


def _row(measurement: str, values: str, *regexes: str, wish: bool = False) -> list[Pattern]:
    """`values`: the value said, then further ones that make the claim true as well; a leading `-`: none is said."""
    said, *more = values.split()
    allowed = frozenset(v for v in (said, *more) if v != "-")
    unknown = allowed.difference(MEASUREMENTS[measurement])
    if unknown:
        raise ValueError(f"{measurement} has no value {', '.join(sorted(unknown))}")
    value = "" if said == "-" else said
    return [Pattern(re.compile(rf"\b(?:{r})", re.IGNORECASE), measurement, value, allowed, wish) for r in regexes]


# the first pattern to take a stretch of text keeps it: the narrow ones stand before the wide ones
TABLE: list[Pattern] = [
    # --- palette: before contrast and exposure, for "black" and "white" are colours of nothing else here
    *_row(
        "palette",
        "monochrome",
        r"black[- ]?(?:and|&|n|'n'|/)[- ]?white|b\s?(?:&|and|/|n)\s?w\b|bw\b|mono(?:chrom\w*|tones?)?\b|"
        r"sepia|duotone|gr[ae]y-?scale|desaturated to gr[ae]y",
    ),
    *_row("high_key", PRESENT, r"high[- ]?key"),
    *_row("low_key", PRESENT, r"low[- ]?key"),
    *_row("silhouette", PRESENT, r"silhouett\w*"),
    # --- light
    *_row(
        "highlights",
        "clipped",
        r"blown(?:[- ]out)?(?!\s+(?:away|up|me|my|glass|by))(?:\s+(?:highlights?|whites?|sky|areas?))?|"
        r"burn(?:t|ed)[- ]out|blow(?:s|ing)? ?outs?\b|"
        rf"(?:highlights?|whites?|sk(?:y|ies)|areas?|parts?|spots?) {_BE} {_ADV}(?:over[- ]?exposed|blown|burnt|hot|"
        r"clipped|lost|too bright)",
        r"clipped (?:highlights?|whites?)|over[- ]?exposed (?:highlights?|whites?|sky|areas?|parts?|spots?)|"
        r"hot[- ]?spots?",
    ),
    *_row(
        "highlights",
        "kept",
        r"details? (?:is |are )?(?:retained |kept |held |preserved )?in (?:the )?(?:highlights?|whites)|"
        rf"highlight details?|highlights? {_BE} {_ADV}(?:controlled|held|preserved|kept|retained|intact|handled)",
    ),
    *_row(
        "shadows",
        "blocked",
        r"block(?:ed|y)[- ](?:up )?(?:shadows?|blacks?)|(?:shadows?|blacks?|dark areas?) "
        rf"{_BE} {_ADV}(?:blocked|(?<=too )dark|(?<=too )black|(?<=too )deep|(?<=too )heavy|lost|plugged|clipped)",
        r"lost in (?:the )?(?:shadows?|darkness|blacks)|details? (?:is |are )?lost in (?:the )?(?:shadows?|blacks?)",
    ),
    *_row(
        "shadows",
        "open",
        r"details? (?:is |are )?(?:retained |kept |held |preserved |visible )?in (?:the )?(?:shadows?|blacks|darks)|"
        r"shadow details?",
    ),
    *_row(
        "exposure",
        "dark",
        r"under[- ]?expos\w*|too (?:dark|dim)\b(?! (?:sky|background|shadows?|clouds?|areas?))|"
        r"(?:a bit|a little|a tad|a touch|slightly|somewhat|rather|overly|kinda|kind of) (?:too )?(?:dark|dim)\b",
        rf"{_PHOTO} {_BE} {_ADV}(?:dark|dim|murky)\b(?! and moody)",
        r"(?:lack(?:s|ing)?|short) (?:of )?(?:light|brightness)",
    ),
    *_row(
        "exposure",
        "bright",
        r"over[- ]?expos\w*|too (?:bright|light)\b(?! (?:sky|background|areas?|spots?))|"
        r"(?:a bit|a little|a tad|a touch|slightly|overly) (?:too )?bright\b",
        rf"{_PHOTO} {_BE} {_ADV}bright\b(?! and)",
    ),
    *_row(
        "exposure",
        "normal",
        rf"(?:well|nicely|properly|perfectly|correctly|beautifully|evenly)[- ]exposed|{_GOOD} exposure\b|"
        rf"exposure {_BE} {_ADV}{_GOOD}|exposure (?:and \w+ )?(?:is|are|was|were) {_ADV}(?:{_GOOD}|well (?:done|handled))|"
        rf"expos(?:ed|ure) (?:very |just |really )?(?:well|perfectly|nicely|correctly)",
    ),
    *_row(
        "contrast",
        "high",
        r"(?:high|strong|stark|dramatic|harsh|heavy|intense|bold|deep|sharp|hard|extreme)[- ]contrasts?|"
        r"(?:too|so|very) much contrast|contrasty|"
        rf"contrasts? {_BE} {_ADV}(?:high|strong|harsh|stark|dramatic|heavy|bold|extreme)",
        rf"harsh (?:{_LIGHT}|shadows?|sun\w*|flash)|{_LIGHT} {_BE} {_ADV}harsh",
    ),
    *_row(
        "contrast",
        "low",
        r"low[- ]contrasts?|(?:lack(?:s|ing)?|without)(?: in| of)?(?: \w+)? contrasts?|(?:too )?little contrast|"
        rf"contrasts? {_BE} {_ADV}(?:low|weak|lacking|poor|flat|missing)|needs? contrast|"
        r"(?:lack(?:s|ing)?|needs?)(?: of| some| a bit of)? punch",
        rf"flat[- ](?:{_LIGHT}|looking|contrast|look|exposure)|(?:{_PHOTO}|{_LIGHT}|contrast|overall) {_BE} {_ADV}"
        r"flat\b(?! (?:surface|land|horizon))|(?:too|very|bit|little|rather|somewhat|quite) flat\b|"
        r"washed[- ]?out|hazy|milky",
    ),
    *_row(
        "contrast",
        "- low normal",
        rf"(?:soft|diffused?|gentle|even|subdued|subtle)(?:ly)?(?:,| and)? (?:\w+ )?(?:light(?:s|ing)?|shadows?)\b|"
        rf"light(?:ing)? {_BE} {_ADV}(?:soft|diffused?|gentle|even)\b",
    ),
    *_row(
        "contrast",
        "normal high",
        rf"{_GOOD}(?: (?:use of|tonal|colou?r|light|and dark|amount of|level of))? contrasts?\b|"
        rf"contrasts? {_BE} {_ADV}{_GOOD}|(?:nice|good|great|wide|full|broad|excellent) (?:tonal range|range of tones|"
        r"dynamic range)|well[- ]contrasted",
    ),
    # --- colour
    *_row(
        "saturation",
        "vivid",
        r"over-?[- ]?saturat\w*|(?:highly|richly|heavily|very|well|deeply|too|so|bit|little|strongly) saturated|"
        r"saturated colou?rs?|vibran\w+|vivid(?:ly|ness)?|colou?rful|"
        rf"(?:rich|bold|bright|intense|strong|punchy|deep|brilliant)(?:,| and)? (?:\w+ )?colou?rs?(?:ing|ation)?\b(?! cast)|"
        rf"colou?rs?(?: and \w+)? {_BE} {_ADV}(?:rich|bold|bright|intense|strong|punchy|saturated|deep)|"
        r"colou?rs? (?:really |just )?pops?\b|saturation (?:is|seems|looks) (?:a bit |a little |too )?(?:high|strong)",
    ),
    *_row(
        "saturation",
        "muted",
        r"(?:muted|pastel|subdued|understated|dull|drab|pale|faded|bleached|washed[- ]out|dreary|restrained)"
        rf"(?:,| and)? (?:\w+ )?{_LIGHT}|{_LIGHT} {_BE} {_ADV}(?:muted|subdued|dull|drab|pale|faded|bleached|pastel)|"
        r"under-?saturated|desaturat\w+|(?:lack(?:s|ing)?|need(?:s|ed)?)(?: of| in)? (?:colou?r|saturation|vibrancy)\b|"
        r"(?:bit|little|rather|somewhat|quite|too|very) (?:dull|drab|washed out)\b",
    ),
    *_row(
        "cast",
        "warm",
        rf"(?:warm|golden|amber|honey)(?:ing|er|th)?(?:,| and)? (?:\w+ )?(?:{_LIGHT}|glow|feel(?:ing)?|atmosphere|cast|"
        r"look|sun(?:light)?)\b|"
        rf"{_LIGHT} {_BE} {_ADV}(?:warm|golden)\b|warmth|(?:yellow(?:ish)?|orange|red(?:dish)?|amber|brown(?:ish)?) "
        r"(?:colou?r )?(?:casts?|tints?|tinge)\b|too (?:warm|yellow|orange)\b",
    ),
    *_row(
        "cast",
        "cool",
        r"(?:cold|bluish|cool blue|icy)(?:,| and)? (?:\w+ )?(?:lights?|lighting|tones?|colou?rs?|hues?|palette|feel(?:ing)?|"
        r"cast|look)\b|cool(?:er)? (?:tones?|hues?|palette|blues?|cast|tint|toned)\b|"
        rf"(?:tones?|hues?|palette|light) {_BE} {_ADV}(?:cold|cool)\b|(?:blue|cyan) (?:colou?r )?(?:casts?|tints?|"
        r"tinge|tones?)\b|too (?:cold|blue)\b|coolness|bluish",
    ),
    *_row("cast", "green", r"green(?:ish)? (?:colou?r )?(?:casts?|tints?|tinge)\b|too green\b"),
    *_row("cast", "magenta", r"(?:magenta|purple|pink(?:ish)?) (?:colou?r )?(?:casts?|tints?|tinge)\b"),
    *_row(
        "cast",
        "neutral",
        rf"(?:{_GOOD}|neutral|accurate) white[- ]balance|white[- ]balance {_BE} {_ADV}(?:{_GOOD}|neutral|accurate)|"
        rf"(?:accurate|natural|true|true to life|realistic)(?:[- ]looking)? colou?rs?|colou?rs? {_BE} {_ADV}"
        r"(?:natural|accurate|true|realistic)",
    ),
    *_row(
        "cast",
        "- warm cool green magenta",
        rf"colou?r[- ]casts?|white[- ]balance {_BE} {_ADV}(?:off|wrong|out|poor)|(?:wrong|poor|incorrect) white[- ]balance",
    ),
    *_row(
        "saturation",
        "normal vivid",
        rf"{_GOOD}(?:,| and)? (?:use of )?(?:natural |the |vibrant )?colou?rs?(?:ing|ation)?\b|"
        rf"colou?rs?(?: and (?:light(?:ing)?|tones?|exposure))? {_BE} {_ADV}{_GOOD}",
    ),
    # --- noise and movement
    *_row("motion_blur", PRESENT, r"motion[- ]blurr?(?:ed)?|camera[- ]shake|blurr?(?:ed|ing)? (?:of )?(?:the )?(?:motion|movement)"),
    *_row("noise", "clean", r"noise[- ]?free|noiseless"),
    *_row("noise", "noisy", r"(?:digital |film |image )?nois[ey]\b|grain(?:y|iness)|film grain|(?:too much|some|visible) grain\b"),
    # --- depth of field, before focus
    *_row(
        "depth",
        "shallow",
        rf"(?:shallow|narrow|small|thin|short|limited)(?: \w+)? {_DOF}|shallow focus|bokeh|"
        rf"{_DOF} {_BE} {_ADV}(?:shallow|narrow|small|thin|short)|selective(?:ly)? focus(?:ed|ing)?|"
        rf"{_BLURRED}(?:,| and| \w+)? {_BACK}|(?:soft|creamy|smooth)(?:ly)? {_BACK}|{_BACK} blur|"
        rf"{_BACK}(?: \w+)? {_BE} {_ADV}(?:soft|smooth|{_BLURRED})|blurr?(?:ed|ing|s)? (?:out )?(?:of )?(?:the |your )?{_BACK}",
        rf"{_BACK} (?:that is |which is |nicely |slightly |completely |being |falls? |goes )?{_BLURRED}|"
        rf"(?:throw(?:s|ing|n)?|put(?:s|ting)?) the {_BACK} out of focus|soft fall-?off",
    ),
    *_row(
        "depth",
        "deep",
        rf"(?:deep|deeper|large|wide|huge|extended|extensive|infinite|broad|maximum)(?: \w+)? {_DOF}|"
        rf"{_DOF} {_BE} {_ADV}(?:deep|large|wide|extensive)|"
        rf"everything (?:else )?{_BE} {_ADV}(?:in (?:good |sharp )?focus|sharp)|everything in focus|"
        r"(?:sharp|in focus|focus(?:ed)?|sharpness|clarity|detail) (?:from )?(?:front to back|throughout|all the way|"
        r"from foreground to background|from the foreground|across the (?:frame|image))|front[- ]to[- ]back (?:sharp\w*|focus)",
    ),
    *_row(
        "sharpness",
        "soft",
        r"(?<!slightly )out[- ]of[- ]focus(?! (?:back|fore|area|element|light|part))|slightly out[- ]of[- ]focus|"
        r"(?:lack(?:s|ing)?|loss)(?: of| in)?(?: \w+)? (?:sharp(?:ness)?|clarity|crispness|focus)\b|needs? (?:sharpening|"
        r"to be sharpened)|(?:mis|mis-|missed |poor |bad |weak )focus(?:ed)?\b|soft[- ]focus(?:ed)?\b|far from (?:being )?(?:sharp|in focus)|un-?sharp\b|"
        r"focus (?:is|was|seems|looks|appears) (?:to be )?(?:a bit |a little |slightly |rather |too |quite |just )*"
        r"(?:off|soft|poor|missed|weak|lost)\b|(?:missed|lost) (?:the )?focus",
        r"(?:too|a bit|a little|a tad|a touch|slightly|rather|somewhat|bit|quite|very) (?:too )?(?:soft|blurr?y|blurred|fuzzy)\b"
        r"(?! (?:light|tone|colou?r|glow|shadow|back|and warm|feel))|"
        rf"(?:{_PHOTO}|focus|subject|face|eyes?|detail|details) {_BE} {_ADV}(?:soft|blurr?y|blurred|fuzzy)\b"
        r"(?! (?:light|tone|colou?r|glow|back))|fuzzy|(?<!nicely )blurr?y(?! back)",
    ),
    *_row(
        "sharpness",
        "sharp",
        r"(?:tack|razor|pin|crystal|needle|super|very|nice and|really|perfectly|nicely|beautifully)[- ](?:sharp|crisp)(?:ly)?\b|"
        rf"(?:sharp|crisp|{_GOOD}|tack sharp|crystal clear)(?:,| and)? (?:\w+ )?focus(?:ing|ed)?\b(?! (?:point|on the))|"
        rf"focus(?:ing)?(?: and (?:\w+|depth of field))? {_BE} {_ADV}(?:sharp|crisp|{_GOOD})|"
        r"in (?:\w+ )?focus\b|(?:well|sharply|nicely|perfectly)[- ]focus+ed|"
        rf"(?:sharp|crisp)(?: and (?:clear|clean|crisp|in focus|sharp))? (?:{_PHOTO}|detail(?:s|ed)?|subject|eyes?)\b",
        rf"(?<!is )(?:{_BE}) {_ADV}(?:sharp|crisp|in focus)\b(?! (?:contrast|line|edge|angle|corner|turn|shadow))|"
        r"sharpness|crispness|(?:nice|good|great|all|so|enough|pretty) (?:and )?(?:sharp|crisp)\b(?! (?:contrast|line|edge))",
    ),
    # --- composition
    *_row(
        "clutter",
        "simple",
        rf"(?:clean|plain|simple|uncluttered|un-?distracting|neutral|uniform|solid)(?:,| and)? (?:\w+ )?{_BACK}|"
        rf"{_BACK} {_BE} {_ADV}(?:clean|plain|simple|uncluttered|neutral|uniform)|uncluttered|minimalis\w+|"
        r"(?:clean|simple)(?:,| and)? (?:\w+ )?composition|simplicity|free of (?:clutter|distractions?)",
    ),
    *_row(
        "clutter",
        "busy",
        rf"(?:too |very |so |bit |little |rather |quite )?busy(?:ness|ier)?\b|clutter(?:ed)?\b|chaotic|messy|"
        rf"(?:too much|so much|a lot|lots) (?:going on|happening|stuff)|distracting (?:{_BACK}|elements?|objects?|details?)|"
        rf"{_BACK}(?: \w+){{0,2}} {_BE} {_ADV}distracting|distractions?\b|{_BACK} distracts",
    ),
    *_row(
        "tilt",
        "level",
        rf"(?:level|straight)(?:ed)? (?:horizons?|verticals?)|(?:horizons?|verticals?|{_PHOTO}) {_BE} {_ADV}"
        r"(?:level|straight)\b(?! (?:line|on|forward|out))",
    ),
    *_row(
        "tilt",
        "tilted",
        r"crooked|lopsided|(?:tilt(?:ed|s|ing)?|slant(?:ed|s|ing)?|slop(?:ed|es|ing)|sloping|lean(?:ed|s|ing)?|off|skewed|"
        rf"uneven) (?:\w+ )?horizon|(?:horizons?|verticals?|camera|{_PHOTO}) (?:\w+ )?{_BE} {_ADV}(?:tilt(?:ed|ing)?|slant(?:ed|"
        r"ing)?|leaning|sloping|skewed|off level|unlevel|crooked|off\b)|horizon (?:line )?(?:tilts?|slopes?|leans?)|"
        r"tilted (?:photo|image|shot|frame|angle|perspective|camera)|dutch (?:angle|tilt)|(?:the|this|camera) tilt\b(?!-)",
    ),
    *_row("placement", "thirds", r"(?:rule|law|principle)s?(?: of)?(?: the)? (?:of )?thirds?|thirds? rule|ro3|on (?:a|the|one) third"),
    *_row(
        "placement",
        "off_centre thirds",
        rf"off[- ]?{_CENTRE}(?:e?d)?|off[- ]?set\b|(?:off )?to (?:one|the) side\b|de-?cent(?:ered|red)",
    ),
    *_row(
        "placement",
        "centred",
        rf"(?:dead[- ]?)?(?:centered|centred)\b(?! (?:on|around))|(?:in|at|to) the (?:very |dead |exact )?(?:{_CENTRE}|middle)"
        r"(?! of (?:attention|interest|focus|the (?:road|street|day|night|action|lens)|a|an|nowhere|my|your|his|her))|"
        rf"dead[- ]{_CENTRE}|{_CENTRE} of (?:the |your )?(?:frame|photo|image|picture|composition)|"
        rf"too central|central(?:ly)? (?:placed|composition|positioned|located|subject|placement)|bull'?s[- ]?eye|"
        rf"{_CENTRE}(?:ed)? (?:placement|composition)",
    ),
    *_row("symmetry", ABSENT, r"a-?symmetr\w+"),
    *_row("symmetry", PRESENT, r"symmetr\w+|mirrored halves"),
    *_row(
        "leading_lines",
        PRESENT,
        r"lead(?:ing|[- ]in) lines?|lines? (?:\w+ ){0,3}(?:lead|draw|guide|pull|take|bring|carr[yi])(?:s|es|ing)?\b|"
        r"(?:lead|draw|guide|pull|carr[yi])(?:s|es|ing)? (?:the |your |my |our |one's |viewer's |the viewer's |a viewer's )?"
        r"(?:eyes?|viewers?) (?:\w+ )?(?:in|into|along|toward|towards|through|to|up|from|across|down)\b",
    ),
    *_row("diagonals", PRESENT, r"diagonal(?:s|ly)?\b"),
    *_row(
        "space",
        "empty",
        r"negative space|(?:empty|white|dead|blank|vacant|unused|extra|open) space|too much (?:space|room|sky|foreground|"
        r"background|headroom|empty)|(?:lots|plenty|a lot) of (?:space|room)\b(?! (?:for|to improve))|(?:breathing|room to breathe)|emptiness|"
        r"(?:too )?loose(?:ly)? (?:crop\w*|fram\w*|composition)",
    ),
    *_row(
        "space",
        "filled",
        r"fill(?:s|ing|ed)?(?: up)? (?:the|your) (?:whole |entire )?(?:frame|image|picture|photo)|"
        r"(?:tight(?:ly)?|close|severe)[- ](?:\w+ )?(?:crop\w*|fram(?:ed|ing)|composition)|"
        r"(?:crop(?:ped|ping)?|fram(?:ed|ing))(?: (?:is|was|seems|looks|feels))? (?:just )?(?:a bit |a little |very |so |too |slightly |rather |"
        r"nice and )*tight(?:ly)?|too tight|(?:a bit|a little|slightly|rather) tight\b|cramped|cut[- ]off|too close to the edge",
    ),
    # --- colour at all, the widest of them
    *_row("palette", "colour", r"colou?rs?\b(?! (?:cast|version|or black))|colou?ration|hues?\b"),
    # --- wishes: what is asked for is not there
    *_row("sharpness", "soft", r"(?:sharper|crisper|better focus(?:ed)?|more (?:sharp(?:ness)?|clarity|focus|in focus|"
          r"crisp|focus+ed)|tighter focus|clearer focus)\b", wish=True),
    *_row("contrast", "low", r"(?:more|extra|some|greater|stronger|higher|boost(?:ed|ing)?(?: the)?|increas(?:ed|ing)(?: the)?)"
          r"(?: \w+)? contrast|more (?:punch|pop)\b|punchier", wish=True),
    *_row("contrast", "high", r"(?:less|lower|reduced?|reducing(?: the)?) contrast|softer light(?:ing)?", wish=True),
    *_row("saturation", "muted", r"more (?:saturat\w+|vibran\w+|vivid|colou?rful|colou?r)\b|(?:bolder|richer|brighter|stronger) "
          r"colou?rs?|(?:boost(?:ed|ing)?|increas\w+)(?: the)? (?:saturation|colou?rs?)", wish=True),
    *_row("saturation", "vivid", r"less (?:saturat\w+|colou?r)|(?:reduc\w+|lower\w*)(?: the)? saturation", wish=True),
    *_row("exposure", "dark", r"(?:brighter|lighter)\b(?! (?:colou?r|back|area|part|sky))|more (?:light(?:ing)?|exposure|fill)\b|brighten\w*", wish=True),
    *_row("exposure", "bright", r"darker\b(?! (?:back|sky|area))|less (?:exposure|bright|light)\b", wish=True),
    *_row("cast", "cool", r"warmer\b", wish=True),
    *_row("cast", "warm", r"cooler\b", wish=True),
    *_row("clutter", "busy", r"less (?:busy|clutter\w*|distract\w+)|(?:simpler|cleaner|plainer)\b|simplif\w+", wish=True),
    *_row("depth", "deep", rf"(?:shallower|smaller|narrower|less)(?: \w+)? {_DOF}|(?:blurr?ier|more blurr?(?:ed|y)?|softer) {_BACK}|"
          rf"{_BACK} (?:\w+ ){{0,3}}(?:more )?(?:blurr?ed|softer|out of focus)", wish=True),
    *_row("depth", "shallow", rf"(?:deeper|greater|larger|wider|more|longer|bigger)(?: \w+)? {_DOF}", wish=True),
    *_row("space", "empty balanced", r"(?:tighter|closer)(?: \w+)? (?:crop\w*|fram\w*|composition)\b|crop(?:ped|ping)? (?:\w+ )?(?:in )?"
          r"(?:tighter|closer)", wish=True),
    *_row("space", "filled balanced", r"more (?:space|room|breathing)|looser|wider (?:crop|fram\w+|view|shot)", wish=True),
    *_row("placement", "centred", rf"(?:more |further |a bit )off[- ]?{_CENTRE}(?:e?d)?|less {_CENTRE}e?d", wish=True),
    *_row("noise", "noisy", r"less (?:nois[ey]|grain\w*)", wish=True),
    *_row("tilt", "tilted", r"straighten(?:ed|ing)?\b|straighter\b|level+ed\b|rotat(?:ed?|ing)\b", wish=True),
]  # fmt: skip

"""The words of chest radiology reports, as regular expressions on lower-case text."""

SEVERITIES = {
    1: r"trace|tiny|minimal(?:ly)?|minor|minute|slight(?:ly)?|faint(?:ly)?|subtle|small(?:[- ]sized)?|mild(?:ly)?|"
    r"little|"
    r"borderline|patchy|low[- ]grade",
    2: r"moderate(?:ly)?(?:[- ]sized)?|medium(?:[- ]sized)?|confluent",
    3: r"large(?:[- ]sized)?|severe(?:ly)?|marked(?:ly)?|massive(?:ly)?|extensive|dense|substantial|gross(?:ly)?|big|"
    r"sizable|florid|widespread|diffuse|huge|significant",
}

_SEEN = r"(?:seen|present|visible|identified|visuali[sz]ed|evident|apparent|demonstrated|noted|detected|appreciated)"
_VESSEL = (
    r"(?:pulmonary |central |hilar |lung |peri ?hilar )*(?:vascular(?:ity)?|vasculature|vessels|interstitium|venous)"
)

FINDINGS: dict[str, str] = {
    "pleural_effusion": r"(?<!pericardial )effusions?|(?:pleural|subpulmonic|loculated) fluid|"
    r"fluid in the (?:\w+ )?(?:pleural|fissure)|(?:hydro|hemo)(?:pneumo)?thora(?:x|ces)",
    "cardiomegaly": r"cardiomegaly|(?:cardiac|heart) enlargement|"
    r"(?:enlargement|enlarged|enlarging|prominent|large|bigger|larger|globular)(?: \w+){0,3}? "
    r"(?:heart|cardiac|cardio\w+)(?: silhouette| shadow| size| contour)?",
    "consolidation": r"(?<!non)consolidat(?:ion|ions|ive|ed)(?: opacit\w+| changes?)?",
    "edema": rf"(?<!tissue )(?<!subcutaneous )o?edema|"
    rf"{_VESSEL} (?:congestion|engorgement|prominence|redistribution|fullness|indistinctness)|"
    rf"(?:pulmonary )?(?:vascular |venous )?congesti(?:on|ve changes?)|pulmonary venous hypertension|"
    r"(?:prominen\w+|congest\w+|engorge\w+|indistinct\w*|full\w*)(?: of)?(?: the)? " + _VESSEL + r"|"
    rf"{_VESSEL}(?: (?!not\b)\w+){{0,3}}? (?:prominent|congested|engorged|indistinct)|"
    r"kerley|(?:fluid|volume) overload|cephali[sz]ation|(?:cardiac|heart|congestive) failure|failure|chf",
    "pneumothorax": r"(?:hydro|hemo)?pneumothora(?:x|ces|xes)|visceral pleural line",
    "atelectasis": r"atelecta\w+|volume loss|(?:lobar|lobe) collapse",
    "pneumonia": r"(?:broncho)?pneumonias?|pneumonic|infectious (?:process|infiltrates?|etiology)",
    "lung_opacity": r"opacit(?:y|ies)|opacifications?|infiltrat(?:es?|ion)|air[- ]?space (?:disease|opacit\w+|"
    r"process)|"
    r"haziness|(?:lung|pulmonary|lobe|basilar|base|bases|lingular|apical|suprahilar|perihilar|hazy|patchy|"
    r"ill[- ]defined) (?:\w+ )?densit(?:y|ies)",
    "lung_lesion": r"nodul(?:e|es|ar)(?: densit\w+| opacit\w+)?|mass(?:es)?|(?:lung|pulmonary) lesions?|"
    r"granuloma(?:s|ta)?|granulomatous (?:diseases?|changes?)",
    "pleural_other": r"pleural(?:[- ]parenchymal)? (?:thickening|scar\w*|plaques?)|fibrothorax",
    "enlarged_cardiomediastinum": r"(?:widen\w+|enlarge\w+)(?: of)?(?: the)?(?: \w+)? mediastinum|"
    r"mediastin\w+(?: \w+){0,2} (?:widen\w+|enlarge\w+)",
    "fracture": r"fractures?",
    "picc": r"piccs?|peripherally inserted central",
    "central_line": r"(?:central|jugular|subclavian|ij|venous|dialysis|indwelling|swan)(?: \w+){0,2}? "
    r"(?:line|catheter|cath)s?|central lines?|swan[- ]?ganz|(?:port|medi)[- ]?a?[- ]?(?:cath\w*|port)|"
    r"(?:chest|infusion|venous|access|port|subclavian|jugular)(?: \w+)? port|\bport",
    "endotracheal_tube": r"(?:endotracheal|et)(?: \w+)? tubes?|intubat(?:ed|ion)",
    "tracheostomy": r"tracheostomy(?: \w+)?(?: tubes?| cannula)?",
    "enteric_tube": r"(?:nasogastric|ng|enteric|orogastric|feeding|dobbhoff|nasoenteric|gastrostomy|"
    r"peg)(?: \w+)? tubes?",
    "chest_tube": r"(?:chest|pleural|thoracostomy)(?: \w+)? (?:tube|drain|catheter)s?|pigtail catheters?",
    "pacemaker": r"pacemakers?|pacers?|pacing|(?:cardio(?:verter)?[- ]?)?defibrillators?|icd|aicd|"
    r"(?:pulse )?generator|(?:dual|single|bi\w*)[- ](?:lead|chamber)|cardiac (?:device|leads)|(?:ventricular|"
    r"atrial) leads?",
}
DEVICES = (
    "picc", "central_line", "endotracheal_tube", "tracheostomy", "enteric_tube", "chest_tube", "pacemaker",
)  # fmt: skip
SIDED = (
    "pleural_effusion", "consolidation", "pneumothorax", "atelectasis", "pneumonia", "lung_opacity", "lung_lesion",
    "pleural_other", "fracture", "picc", "central_line", "chest_tube",
)  # fmt: skip

# The heart as a subject, and what is said of it: the predicates are matched from where the subject ends.
HEART = (
    r"heart(?: size)?|cardiac(?: silhouette| size| shadow| contours?)?(?! pac| dev| lead)|"
    r"cardio(?:mediastinal|pericardial)(?: silhouette| contours?| size)?"
)
_GAP = r"(?:[ ,]+(?!and\b|with\b)[\w-]+){0,5}?[ ,]+"
HEART_NORMAL = (
    r"(?:[ ,]+[\w-]+){0,7}?[ ,]+(?:not (?:\w+ )?(?:enlarged|increased)|no longer enlarged|normal(?:i[sz]ed)?|"
    r"unremarkable|within normal|"
    r"upper limits|top[- ]normal|of normal|normal limits)"
)
HEART_LARGE = (
    rf"{_GAP}(?:(?:borderline |mildly |moderately |severely |markedly )*(?:enlarged|prominent|large|globular|big|"
    r"(?:mildly |moderately |markedly )increased)|enlargement)"
)
HEART_MOVED = (
    rf"{_GAP}(?:(?:increas|decreas|diminish|reduc)\w+(?: in size)?|larger|bigger|smaller|greater|less enlarged|"
    r"more enlarged|wors\w+|grown)(?: [\w-]+){0,9}? ?(?:enlarged|enlargement|$)?"
)
HEART_BACK = (
    r"normali[sz]ation of(?: the)? (?:heart|cardiac)(?: size| silhouette)?|"
    r"(?:heart|cardiac)(?: size| silhouette)? has normali[sz]ed"
)

# What is denied by a clear region.
CLEAR: tuple[tuple[tuple[str, ...], str], ...] = (
    (("pleural_effusion",), r"(?:costophrenic (?:angles|sulci)|pleural spaces)(?: \w+){0,2}? (?:clear|sharp|normal)"),
    (
        ("consolidation", "lung_opacity", "edema", "pneumonia", "atelectasis"),
        r"(?:lungs|lung fields)(?: (?:are|appear|remain|both|now|well))*? clear(?! of)|clear lungs|"
        r"lungs have cleared(?! of)",
    ),
)

NEGATION = (
    r"no|without|not|nor|neither|negative for|free of|free from|absence of|absent|clear of|cleared of|lack of|"
    r"never|denies|clear(?= (?:\w+ )?(?:air[- ]?space|infiltrat|opacit))"
)
POST_NEGATION = (
    rf"(?:is|are|was|were|has been|have been)?\s*(?:not|never) (?:\w+[ -]){{0,2}}?{_SEEN}"
    r"(?!\s+(?:previously|before|(?:on|in|at)(?: the| an?)? (?:prior|previous|earlier|last|old|outside)|(?:on|"
    r"in)\W*$))|"
    r"(?:is|are) absent|(?:has|have) been (?:excluded|ruled out)|(?:is|are) excluded"
)
IS_NORMAL = r"(?: \w+)? (?:is|are|appears?) (?:normal|unremarkable|within (?:normal limits|limits of normal))"
# "no change" and the like say nothing of absence.
NOT_NEGATION = (
    r"(?:no|not|without)(?:\s+[\w-]+){0,3}?\s+(?:chang\w+|increase\w*|decrease\w*|differen\w+|worsen\w+|progress\w+)|"
    r"no longer|not only|not (?:be |been )?(?:entirely |completely |definitely )?exclud\w+|"
    rf"not (?:\w+ )?{_SEEN} (?:on|in|at|previously|before)|no (?:doubt|further|new)\b(?= (?:comparison|study))"
)
UNCERTAIN = (
    r"may|might|could|possib(?:ly|le|ility)|question(?:able)?|questioned|suspicio(?:n|us)|concern(?:ing)?|worrisome|"
    r"equivocal|cannot (?:be )?(?:\w+ )?(?:exclude\w*|rule)|can ?not (?:\w+ )?(?:exclude|rule)|versus|vs|perhaps|"
    r"differential|unclear|indeterminate|history of|evaluat\w+ (?:for|of)|correlate (?:\w+ )?for|suspect\w*|"
    r"rule out|if|potential(?:ly)?|"
    r"risk of|and/or|less likely|difficult to (?:\w+ )?exclude|to (?:identify|exclude|evaluate|assess|confirm|"
    r"rule)|rule[- ]out|"
    r"(?:previously|questionably) described"
)
POST_UNCERTAIN = (
    r"(?:may|might|could) (?:also )?be (?:present|there|seen|considered)|cannot (?:be )?(?:\w+ )?(?:excluded|ruled)|"
    r"can ?not (?:be )?(?:\w+ )?(?:excluded|ruled)|"
    r"(?:not|difficult|hard|impossible) (?:to )?(?:be )?(?:\w+ )?(?:exclude\w*|rule out)|"
    r"(?:is|are) (?:\w+ )?(?:possible|in the differential|a consideration|suspected|questioned|questionable|"
    r"equivocal|of concern|uncertain|not certain)|"
    r"(?:should|must|would) be (?:considered|a consideration)|may not be"
)
SCOPE_END = r"but|however|although|though|except|aside from|apart from|other than|whereas|while|yet|which"
PHRASE_START = (
    r"there (?:is|are)|stable|unchanged|persist\w+|increas\w+|decreas\w+|wors\w+|improv\w+|interval|again|residual"
)
VERB = r"is|are|was|were|has|have|had|persists?|remains?|reflects?|shows?|appears?|cannot|may|resolved|noted|seen"


FINITE = r"is|are|was|were|has|have|had|persists?|remains?|reflects?|shows?|appears?|cannot|may"

GONE = (
    r"resol(?:ved|ution)|cleared|(?:complete|full|total|interval) (?:clearing|clearance|resorption|drainage|"
    r"evacuation)|"
    r"disappear\w*|vanished|gone|no longer|"
    rf"not {_SEEN} (?:anymore|any more)|removed|removal|withdrawn|taken out|pulled|extubat\w+|explant\w+|"
    r"(?:completely|fully) (?:drained|evacuated|re-?absorbed|re-?aerated|re-?expanded)|re-?expan\w+|normali[sz]\w+|"
    r"return\w* to normal"
)
PARTIAL = r"partial(?:ly)?|near(?:ly)?|almost|incomplete(?:ly)?|resolving|largely|mostly|essentially|some"
CHANGES = {
    "new": r"new(?:ly)?|interval (?:development|appearance|placement|insertion|onset|accumulation|occurrence|"
    r"formation)|"
    r"development of|(?:has|have) (?:\w+ )?(?:developed|appeared|arisen)|developed since|appearance of (?:an? |new )|"
    rf"now {_SEEN}|not {_SEEN} (?:previously|before|on|in)|previously (?:normal|absent|clear|not|un\w+)|"
    r"(?:has|have) (?:now )?been (?:placed|inserted|positioned|introduced)|(?:has|"
    r"have) become (?:\w+ )?(?:enlarged|visible|apparent|evident)|"
    r"(?:heart|silhouette|size|shadow) is now|recurren\w+",
    "worse": r"increas(?!ed (?:interstitial|lung|bronch|density|markings))\w+|larger|enlarging|enlarged since|"
    r"further \w+|wors\w+|progress(?:ed|ion|ing|ive)|"
    r"more (?:extensive|prominent|severe|pronounced|conspicuous|dense|marked|confluent|widespread|apparent|enlarged)|"
    r"grow(?:n|s|ing)|growth|grew|greater(?! than (?:the )?(?:left|right))|bigger|expanded|extended|aggravat\w+|"
    r"denser|"
    r"deteriorat\w+|exacerbat\w+|re-?accumulat\w+|coalesc\w+|extension",
    "improved": r"decreas\w+|smaller|improv\w+|diminish\w+|"
    r"less (?:extensive|prominent|severe|pronounced|conspicuous|dense|marked|confluent|widespread|apparent|enlarged)|"
    r"reduc\w+|resolving|lessen\w+|reced\w+|regress\w+|clearing|"
    r"(?:partial(?:ly)?|near(?:ly)?|almost|incomplete(?:ly)?|largely|mostly|essentially|some) (?:\w+ )?"
    r"(?:clear\w*|resol\w*|drain\w*|evacuat\w+|re-?expan\w+|re-?absor\w+|aerat\w+|re-?aerat\w+)|"
    r"shr[aiu]nk\w*|subsid\w+|better aerat\w+",
    "stable": r"unchanged|stable|stably|persist\w*|similar|again (?:seen|noted|demonstrated|identified|"
    r"visuali[sz]ed|is|are)|"
    r"remain(?:s|ing)?|constant|(?:no|without|little)(?: [\w-]+){0,3}? chang\w+|as before|than before|"
    r"as (?:on|in) (?:the )?(?:prior|previous|last|earlier)|not (?:\w+ ){0,2}chang\w+|re-?demonstrat\w+|continu\w+|"
    r"still|re-?identified|comparable|static|chronic|long-?standing|residual|old",
}

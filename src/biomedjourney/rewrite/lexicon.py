"""The words of chest radiology reports, as regular expressions on lower-case text.

The terms follow CheXpert's labeler (Irvin et al., 2019). `spelling` writes abbreviations out before any other list is
looked at; `spans` says how the lists are used.
"""

_OLDER = (
    r"(?:prior|previous|earlier|last|old|older|outside|preceding|(?:radiograph|film|study|exam\w*|x-?ray|ct|"
    r"images?) (?:of|from|dated|on))"
)
_SEEN = (
    r"(?:seen|present|visible|identified|visuali[sz]ed|evident|apparent|demonstrated|noted|detected|appreciated|found)"
)

# Written out before all else. "l" and "r" stand for sides, but not in "l1" or "r/o".
ABBREVIATIONS: dict[str, str] = {
    r"↑": " increased ", r"↓": " decreased ",
    r"\bs/p\b": "status post", r"\bc/w\b": "consistent with", r"\bw/o\b": "without", r"\bw/": "with ",
    r"\br/o\b": "rule out", r"\bh/o\b|\bhx(?: of)?\b": "history of", r"\bd/?c['’]?e?d\b": "removed",
    r"\bb/l\b|\bbilat\b\.?|\bbil\b\.?": "bilateral",
    r"\brll\b": "right lower lobe", r"\brml\b": "right middle lobe", r"\brul\b": "right upper lobe",
    r"\blll\b": "left lower lobe", r"\blul\b": "left upper lobe",
    r"(?<![\w'’])(?:l|lt)\b\.?(?![/'’])": "left", r"(?<![\w'’])(?:r|rt)\b\.?(?![/'’])": "right",
    r"\b(left|right)(?: -)?[ -]sided?\b": r"\1", r"\b(left|right) ct\b(?! (?:of|scan|chest|"
    r"angio\w*))": r"\1 chest tube",
    r"\bptx\b|\bpntx\b": "pneumothorax", r"\bhtx\b": "hemothorax", r"\bpna\b": "pneumonia", r"\bfx\b": "fracture",
    r"\beffs?\b\.?": "effusion", r"\batel\b\.?|\batx\b": "atelectasis", r"\bconsol\b\.?": "consolidation",
    r"\bett\b|\bet-tube\b": "endotracheal tube", r"\bngt\b|\bogt\b|\bdht\b|\bnjt\b": "nasogastric tube",
    r"\bcvl\b|\bcvc\b": "central venous catheter", r"\btrach\b": "tracheostomy", r"\bppm\b": "pacemaker",
    r"\bsm\b": "small", r"\bmod\b\.?": "moderate", r"\blg\b": "large", r"\bincr\b\.?": "increased",
    r"\bdecr\b\.?": "decreased", r"\bunch\b\.?": "unchanged", r"\bprev\b\.?": "previous", r"\bpulm\b\.?": "pulmonary",
    r"\bwnl\b": "within normal limits", r"\bneg\b": "negative", r"\bpt\b": "patient",
}  # fmt: skip

# What a slip of dictation is put right to.
_SPELLINGS = (
    "pleural effusion effusions cardiomegaly consolidation consolidations consolidative edema pulmonary vascular "
    "congestion pneumothorax pneumothoraces hydropneumothorax hemothorax atelectasis atelectatic atelectases pneumonia "
    "opacity opacities opacification infiltrate infiltrates airspace nodule nodules nodular lesion lesions fracture "
    "fractures granuloma thickening mediastinum mediastinal cardiac silhouette enlarged enlargement catheter catheters "
    "endotracheal tracheostomy nasogastric enteric feeding jugular subclavian pacemaker pigtail tube tubes "
    "bilateral bibasilar basilar right left lower upper middle apical lingula lingular "
    "small moderate large severe minimal massive marked extensive trace tiny mild slight slightly mildly moderately "
    "markedly significantly "
    "increased increase increasing decreased decrease decreasing unchanged stable worsened worsening worse improved "
    "improvement improving resolved resolving resolution cleared clearing persistent persists residual larger smaller "
    "interval progressed progression removed removal placed placement inserted withdrawn advanced repositioned "
    "exchanged intubated extubated previously without normal evidence change changed collapse"
)
SPELLINGS = frozenset(_SPELLINGS.split())
_OWN_WORDS = (  # words of medicine that an English word list lacks
    "hemithorax pneumonitis pneumonias cardia granulomata extubation intubation extubate intubate opacify opacified "
    "infiltrative mediastinitis nodularity lesional basilic reintubated reintubation subpulmonic "
    "biapical bibasal masslike perihilar interlobar subapical"
)
OWN_WORDS = frozenset(_OWN_WORDS.split())

SEVERITIES = {
    1: r"trace|tiny|minimal(?:ly)?|minor|minute|slight(?:ly)?|faint(?:ly)?|subtle|small(?:[- ]sized)?|mild(?:ly)?|"
    r"little|borderline|patchy|low[- ]grade|smallish|minisc?ule|minuscule",
    2: r"moderate(?:ly)?(?:[- ]sized)?|medium(?:[- ]sized)?|confluent",
    3: r"large(?:[- ]sized)?|severe(?:ly)?|marked(?:ly)?|massive(?:ly)?|extensive|dense|substantial|gross(?:ly)?|big|"
    r"sizable|florid|widespread|diffuse|huge|significant|considerable",
}

_KIND = r"(?!left\b|right\b|and\b|or\b|is\b|are\b|has\b|in\b)[\w-]+"  # of a tube or line
_VESSEL = (
    r"(?:pulmonary |central |hilar |lung |peri ?hilar )*(?:vascular(?:ity)?|vasculature|vessels|interstitium|venous)"
)

FINDINGS: dict[str, str] = {
    "pleural_effusion": r"(?<!pericardial )(?:pleural |parapneumonic )?effusions?|"
    r"(?:pleural|subpulmonic|loculated) fluid(?: collections?)?|fluid in the (?:\w+ )?(?:pleural|fissure)|"
    r"(?:hydro|hemo)thora(?:x|ces)|empyemas?",
    "cardiomegaly": r"cardiomegaly|(?:cardiac|heart) enlargement|"
    r"(?:enlargement|enlarged|prominent|large|globular)(?: \w+){0,3}? (?:heart|cardiac|cardio\w+)(?: silhouette|"
    r" shadow| size| contour)?",
    "consolidation": r"(?<!non)consolidat(?:ion|ions|ive|ed)(?: opacit\w+| changes?)?",
    "edema": rf"(?<!tissue )(?<!subcutaneous )(?:interstitial |alveolar |pulmonary |lung )*o?edema|"
    rf"{_VESSEL} (?:congestion|engorgement|prominence|redistribution|fullness|indistinctness|plethora)|"
    rf"(?:pulmonary )?(?:vascular |venous )?congesti(?:on|ve changes?)|pulmonary venous hypertension|"
    r"(?:prominen\w+|congest\w+|engorge\w+|indistinct\w*|full\w*)(?: of)?(?: the)? " + _VESSEL + r"|"
    rf"{_VESSEL}(?: (?!not\b)\w+){{0,3}}? (?:prominent|congested|engorged|indistinct)|"
    r"kerley|(?:fluid|volume) overload|cephali[sz]ation|(?:congestive )?(?:cardiac|heart|congestive) failure|"
    r"(?<!respiratory )(?<!renal )(?<!kidney )(?<!liver )(?<!hepatic )(?<!treatment )failure|chf",
    "pneumothorax": r"pneumothora(?:x|ces|xes)|visceral pleural line",
    "atelectasis": r"atelecta\w+|volume loss|(?:lobar|lobe|lung) collapse|"
    r"collapse (?:of|in) (?:the )?(?:\w+ ){0,3}?(?:lung|lobe|base)|"
    r"(?:lobe|lung|lingula|base) (?:is|has|remains)(?: \w+)? collapsed",
    "pneumonia": r"(?:broncho)?pneumonias?|pneumonic|infectious (?:process|infiltrates?|etiology)",
    "lung_opacity": r"opacit(?:y|ies)|opacifications?|opacified|infiltrat(?:es?|ion)|"
    r"air[- ]?space (?:disease|opacit\w+|process)|haziness|"
    r"(?:lung|pulmonary|lobe|basilar|base|bases|lingular|apical|suprahilar|perihilar|hazy|patchy|"
    r"ill[- ]defined) (?:\w+ )?densit(?:y|ies)",
    "lung_lesion": r"nodul(?:e|es|ar)(?: densit\w+| opacit\w+)?|mass(?:es)?(?! effect)|"
    r"(?:lung|pulmonary|cavitary|lobe|metastatic|spiculated|rounded|focal) lesions?|cavitary (?:mass|nodule)|"
    r"granuloma(?:s|ta)?|granulomatous (?:diseases?|changes?)|cavitations?|metastas[ei]s",
    "pleural_other": r"pleural(?:[- ]parenchymal)? (?:thickening|scar\w*|plaques?)|fibrothorax",
    "enlarged_cardiomediastinum": r"(?:widen\w+|enlarge\w+)(?: of)?(?: the)?(?: \w+)? mediastinum|"
    r"mediastin\w+(?: (?!no\b|not\b)\w+){0,2} (?:widen\w+|enlarge\w+)",
    "fracture": r"fractures?",
    "picc": r"piccs?(?: (?:line|catheter)s?)?|peripherally inserted central(?: venous)?(?: (?:line|catheter)s?)?",
    "central_line": r"(?:central|jugular|subclavian|ij|venous|dialysis|hemodialysis|indwelling|swan|femoral|tunneled|"
    rf"hickman|pulmonary artery)(?: {_KIND}){{0,2}}? (?:line|catheter|cath|sheath|introducer|cordis)s?|"
    r"central lines?|(?:internal jugular |ij )?swan[- ]?ganz(?: catheter)?|(?:port|medi)[- ]?a?[- ]?(?:cath\w*|port)|"
    rf"(?:chest|infusion|venous|access|subclavian|jugular)(?: {_KIND})? port|\bport(?: catheter)?|pa catheter|"
    r"(?:internal jugular|subclavian|ij)(?=\s*(?:[,.;]|$)| (?:and|is|has|was|terminat\w+|ends|in place|removed|"
    r"placed|tip))",
    "endotracheal_tube": rf"(?:endotracheal|et)(?: {_KIND})? tubes?|"
    rf"(?:endotracheal|et)(?=(?:,| and)(?: \w+){{1,3}}? tubes)|"
    r"(?:re-?)?intubat(?:ed|ion)|extubat(?:ed|ion)",
    "tracheostomy": rf"tracheostomy(?: {_KIND})?(?: tubes?| cannula)?|tracheostomy",
    "enteric_tube": r"(?:nasogastric|ng|og|nj|enteric|orogastric|feeding|dobb?[- ]?hoff|nasoenteric|nasojejunal|"
    r"gastrostomy|"
    rf"gastric|transesophageal|peg|upper enteric)(?: {_KIND}){{0,2}}? tubes?|dobb?[- ]?hoff|"
    r"(?:nasogastric|enteric|orogastric|ng|og)(?=(?:,| and)(?: \w+){1,3}? tubes)",
    "chest_tube": rf"(?:chest|pleural|thoracostomy|pleurx|pleur-x)(?: {_KIND})? (?:tube|drain|catheter)s?|"
    r"pigtail(?: (?:pleural|drainage|chest))*(?: (?:catheter|drain|tube))?s?|pleurx|"
    r"(?:basal|basilar|apical|left|right|surgical|blake|thoracic) (?:drain|drainage catheter)s?|thoracostomy",
    "pacemaker": r"pacemakers?|pacers?|pacing|(?:cardio(?:verter)?[- ]?)?defibrillators?|icd|aicd|"
    r"(?:pulse )?generator|(?:dual|single|bi\w*)[- ](?:lead|chamber)|cardiac (?:device|leads)|"
    r"(?:ventricular|atrial) leads?",
}  # fmt: skip
TWO_FINDINGS = {"hydropneumothora(?:x|ces)|hemopneumothora(?:x|ces)": ("pleural_effusion", "pneumothorax")}
DEVICES = (
    "picc", "central_line", "endotracheal_tube", "tracheostomy", "enteric_tube", "chest_tube", "pacemaker",
)  # fmt: skip
SIDED = (
    "pleural_effusion", "consolidation", "pneumothorax", "atelectasis", "pneumonia", "lung_opacity", "lung_lesion",
    "pleural_other", "fracture", "picc", "central_line", "chest_tube", "pacemaker",
)  # fmt: skip

# Words that name no finding but tell what became of those that the earlier report has.
STANDS_FOR: dict[str, tuple[str, ...]] = {
    "aeration": ("atelectasis", "consolidation", "pneumonia", "lung_opacity", "edema"),
    "expansion": ("atelectasis", "pneumothorax"),
    "devices": DEVICES,
}
STAND_INS: dict[str, str] = {
    "aeration": r"(?:re-?)?aeration|"
    r"(?:lung|lobe|base|bases|lungs) (?:is|are|has|have|appears?)(?: \w+)? (?:better|less well|more|well) aerated",
    "expansion": r"(?:re-?expansion|(?:lung|lobe|lingula) (?:has |is |have |are )?(?:now |been |"
    r"since )?(?:\w+ly )?re-?expanded)",
    "devices": r"(?:all |other |remaining |the )*(?:monitoring|support|supporting)(?: and (?:monitoring|"
    r"support))? (?:and support )?(?:devices?|apparatus|equipment|lines)(?: and tubes)?|"
    r"all (?:of the )?(?:tubes|lines)(?: and (?:tubes|lines))?|lines and tubes|tubes and lines",
}

# Things that are no finding here, but to which a word of change, of size or of side may belong.
OTHER_THINGS = (
    r"(?:lung|inspiratory|expiratory) volumes?|inspirat\w+(?: effort| level)?|(?:degree|level|depth) of inspiration|"
    r"(?:radiographic |x-?ray )?penetrat\w+|exposure|(?:patient )?(?:position\w*|rotation)|"
    r"(?:is|are|was|more|less|patient) rotated|rotated(?: to the (?:left|right))?|projection|"
    r"(?:radiographic )?technique|magnification|"
    r"(?:difference|variation|change|changes)s? in (?:patient )?(?:position\w*|technique|rotation|inspiration|"
    r"projection|lung volumes|the degree)|"
    r"(?:subcutaneous|soft tissue|chest wall|mediastinal) (?:emphysema|air|gas|edema)|pneumomediastinum|"
    r"pneumoperitoneum|free air|(?:soft tissue|breast) (?:density|attenuation)|densit(?:y|ies) of the soft tissues?|"
    r"bowel gas|gastric (?:distension|distention|bubble)|(?:hiatal|hiatus) hernia|"
    r"(?:mediastinal|tracheal|(?:right|left)ward) (?:shift|deviation)(?: of the (?:mediastin\w+|trachea))?|"
    r"shift of (?:the )?mediastin\w+|(?:elevat\w+|eventration)(?: of)?(?: the)? (?:right |left )?(?:hemi)?diaphragm|"
    r"(?:right |left )?(?:hemi)?diaphragm is (?:\w+ )?elevated|"
    r"(?:bronchovascular|interstitial|lung|vascular) markings|crowding|scoliosis|emphysema|copd|hyperinflat\w+|"
    r"kyphosis|aort\w+|calcif\w+|osteopenia|degenerative \w+|skin ?folds?|nipple shadows?|(?:bleb|bulla)e?s?|"
    r"pericardial effusions?|side[- ]?(?:port|hole)s?|port (?:is|was) (?:needed|accessed)|lobectomy|resection|"
    r"thoracotomy|sternotomy|thoracentesis|drip|distance|dose"
)
# Sides in the names of other structures.
NO_SIDE = (
    r"(?:left|right) (?:ventric\w+|atri\w+|heart(?: border)?|main(?:[- ]?stem)?(?: bronchus)?|bronchus|"
    r"brachiocephalic\w*|innominate|arm|shoulder|(?:\w+ )?decubitus|(?:anterior|posterior) oblique|costal margin|"
    r"axilla|neck|ventricular|subclavian vein|internal jugular vein|side down)|"
    r"(?:is|are|was|were|been|be|remains?) left(?! (?:sided|lung|lower|upper|base|basilar|apical|pleural|side|lobe|"
    r"hemithorax|chest|picc))|left (?:in place|behind)|"
    r"from (?:a |the )?(?:left|right)(?=(?: internal)? (?:approach))|to the (?:left|right)(?= (?:than|of midline))"
)

SIDES_BOTH = (
    r"bilateral(?:ly)?|each(?= (?:pleural|lung|side|base|effusion|hemithorax))|bi(?:basilar|basal|apical|pulmonary)|"
    r"both(?! (?:of|new|the|un\w+|stable|have|has|are|increas|decreas|improv|wors|resolv|larger|smaller|again|seen|"
    r"more|less)\b)(?: (?:lungs?|sides|bases|hemithoraces))?|(?:both )?(?:lung )?bases|"
    r"(?:right|left)(?: side)? (?:and|greater than|more than|larger than|worse than|bigger than|>|"
    r"slightly greater than|much greater than|more so than) (?:the )?(?:left|right)|(?:left|right)>(?:left|right)|"
    r"(?:left|right) ?[>&/] ?(?:left|right)|"
    r"(?:again |still )?(?:is |are )?(?:greater|larger|worse|more|bigger)(?: (?:severe|extensive|prominent|"
    r"pronounced|marked|so))? (?:on|at|in) (?:the )?(?:left|right)(?: side)? than(?: (?:on|at|in))?(?: the)? (?:left|"
    r"right)|(?:either|each) side|(?:left|right) more than(?: the)? (?:left|right)|throughout both lungs"
)
SIDES = {"left": r"left|lingula\w*", "right": r"right|(?:middle lobe)"}

# The heart as a subject, and what is said of it.
HEART = (
    r"heart(?: size)?|cardiac (?:silhouette|size|shadow|contours?)|cardiac(?= (?:and|is|appears))|"
    r"cardio(?:mediastinal|pericardial)(?: silhouette| contours?| size)?|cardiomediastin\w+"
)
HEART_NORMAL = (
    r"not (?:\w+ )?(?:enlarged|increased)|no longer enlarged|normal(?:[- ]sized|i[sz]ed|i[sz]ation)?|unremarkable|"
    r"within normal(?: limits)?|upper limits|top[- ]normal|of normal|normal limits|limits of normal"
)
HEART_LARGE = r"enlarged|prominent|globular|enlargement"
HEART_IS_BACK = r"\bnow\b|\breturn|\bno longer\b|\bnormali[sz]|\bbecome\b"

# What is denied where a region is clear; the region may be of one side.
CLEAR: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("enlarged_cardiomediastinum",),
        r"(?P<side>)mediastin\w+(?: \w+){0,2}? (?:no longer|not)(?: \w+)? (?:widened|enlarged|wide)",
    ),
    (
        ("pleural_effusion",),
        r"(?P<side>right |left )?(?:lateral |posterior )?(?:(?:costophrenic|cp) (?:angles?|sulc(?:us|i)|recess\w*)|"
        r"pleural spaces?|sulci)(?:, [^,]*,|[:,])?(?: (?:is|are|has|have|remains?|appears?|again|now|both|become|"
        r"well|more|on|the|right|left)){0,4}? (?:clear|sharp|normal|preserved|cleared)",
    ),
    (
        ("consolidation", "lung_opacity", "edema", "pneumonia", "atelectasis"),
        r"(?P<side>right |left |lingula\b)?(?:(?:upper |middle |lower )?(?:lungs?|lobes?|lung base|base)|lung fields|"
        r"(?<=lingula))[:,]?(?:(?: (?:is|are|appears?|remains?|both|now|well|grossly|essentially|"
        r"otherwise))*? clear(?! of)|(?: (?:has|have|now|since)){1,2} cleared(?! of| (?:partially|partly|"
        r"substantially|somewhat|considerably)))|clear lungs",
    ),
)

# "No X": X is absent. "No new X", "no large X": nothing is said of the X that is there already.
NEGATION = (
    r"no(?: (?:longer any|definite|appreciable|evidence of|radiographic evidence of|signs? of))?|without|not|nor|"
    r"neither|negative for|free of|free from|absence of|absent|clear of|cleared of|lack of|never|denies|"
    r"clear(?= (?:\w+ )?(?:air[- ]?space|infiltrat|opacit))"
)
NOTHING_NEW = (
    r"(?:no|without|not?|nor)(?: (?:any|definite|evidence (?:of|for)|radiographic evidence of|signs? of|convincing|"
    r"focal|other|significant|acute|obvious|an?)){0,3} (?:new(?:ly)?|acute|additional|further|other|enlarging|"
    r"increasing|worsening|recurrent|recurrence of|large|sizable|substantial|significant|big|massive|tension|"
    r"reaccumulat\w+(?: of)?|(?:interval )?development of|developing|progressive|interval|large-?sized|moderate|"
    r"severe|superimposed new)"
)
GONE_BEFORE = r"residual|remaining|persistent|longer|more"  # "no residual X": X was there and is gone
POST_NEGATION = (
    rf"(?:is|are|was|were|has been|have been)?\s*(?:not|never) (?:\w+[ -]){{0,2}}?{_SEEN}(?!\s+(?:previously|before|"
    rf"(?:on|in|at)(?: the| an?)? {_OLDER}|(?:on|in)\W*$))|"
    r"(?:is|are) (?:\w+ )?absent|(?:has|have) been (?:excluded|ruled out)|(?:is|are) excluded"
)
NONE = (
    r"(?:none|absent|negative|nil)(?=\W*(?:$|[;,.]|on the|at the|right|left|seen|identified|bilateral))|no(?=\W*$|[;,])"
)
IS_NORMAL = r"(?: \w+)? (?:is|are|appears?) (?:normal|unremarkable|within (?:normal limits|limits of normal))"
UNCERTAIN = (
    r"may|might|could|possib(?:ly|le|ility)|question(?:able)?(?: of)?|questioned|suspicion|suspicious for|"
    r"concern(?:ing)?|worrisome|equivocal|cannot (?:be )?(?:\w+ )?(?:exclude\w*|rule)|"
    r"can ?not (?:\w+ )?(?:exclude|rule)|versus|vs\.?|perhaps|differential|unclear|indeterminate|"
    r"evaluat\w+ (?:for|of)|assess(?:ment)? for|correlate (?:\w+ )?for|suspect\w*|rule out|if|potential(?:ly)?|"
    r"risk of|and/or|less likely|difficult to (?:\w+ )?exclude|"
    r"to (?:identify|exclude|evaluate|assess|confirm|document|ensure|establish|verify|rule)|rule[- ]out|"
    r"questionably described|conceivabl[ey]|in the (?:appropriate|right|proper|correct) clinical (?:setting|context)"
)
POST_UNCERTAIN = (
    r"(?:may|might|could) (?:also )?be (?:present|there|seen|considered)|cannot (?:be )?(?:\w+ )?(?:excluded|ruled)|"
    r"can ?not (?:be )?(?:\w+ )?(?:excluded|ruled)|"
    r"(?:not|difficult|hard|impossible) (?:to )?(?:be )?(?:\w+ )?(?:exclude\w*|rule out)|"
    r"(?:is|are) (?:\w+ )?(?:possible|in the differential|a consideration|suspected|questioned|questionable|"
    r"equivocal|of concern|uncertain|not certain)|if any|(?:should|must|would) be (?:considered|a consideration)|"
    r"may not be|"
    r"(?:because|attributable|due|related|secondary|owing|explained|accounted for|exaggerated|accentuated|"
    r"magnified)(?: (?:in part|partly|primarily|mostly|largely))? (?:to|by|of)(?: [\w-]+){0,5}? (?:technique|"
    r"projection|position\w*|rotation|inspir\w+|lung volumes?|magnification|penetration|expiratory|exposure|supine|"
    r"ap view)|"
    r"(?:is|are|represents?|reflects?|corresponds? to|consistent with|compatible with|due to|caused by|"
    r"representing) (?:an? |the )?(?:\w+ ){0,2}?(?:nipple shadows?|skin ?folds?|artifacts?|hernia|summation\w*|"
    r"(?:superimpos|overlap)\w+ (?:structures?|tissues?|shadows?)|osteophytes?|costochondral \w+)"
)
NOT_EXCLUDED = r"not (?:\w+ )?exclude(?!d)|not only|no (?:doubt|comparison)"
# "X rather than Y": of Y nothing is said.
REJECTED = (
    r"rather than|instead of|as opposed to|and not|mimic\w*|simulat\w+|resembl\w+|artifact\w* not|more likely than|"
    r"than (?:with|for|of|by)|more so than|(?:more )?than(?= (?:pneumonia|consolidation|atelectasis|edema))"
)
FAVORED_OVER = r"favou?r\w*[^.;]*?\b(?P<over>over)\b"
# What patients had or have, as told to the radiologist.
HISTORY = (
    r"history of|history:|"
    r"(?:patient|man|woman|male|female)(?: is)? (?:with|who (?:has|had))(?: (?:known|a|history of))*|known history|"
    r"presents? with|presenting with|admitted (?:with|for)|recently diagnosed with|diagnosed with|treated for|"
    r"treatment (?:of|for)|indication:|clinical (?:concern|suspicion|question) (?:for|of)|concern for|setting of|"
    r"risk factors? for"
)
# From here on a sentence says what should be done.
ADVICE = (
    r"recommend\w*|(?:is|are) advised|advis(?:e|ed|able)|should|(?:is|are) (?:suggested|warranted|indicated|needed)|"
    r"needs? to|would benefit|please (?!note|see)|"
    r"suggest (?:follow|repeat|further|reposition|advanc|withdraw|pull|remov)\w*|consider(?:ed)?\b|attention on|"
    r"(?:could|can|must) be (?:obtained|advanced|withdrawn|pulled|retracted|repositioned|removed|considered|"
    r"performed)"
)
SCOPE_END = r"but|however|although|though|except|aside from|apart from|other than|whereas|while|yet|which|so that"
PHRASE_START = (
    r"there (?:is|are)|stable|unchanged|persist\w+|increas\w+|decreas\w+|wors\w+|improv\w+|interval|again|residual|new"
)
VERB = (
    r"is|are|was|were|has|have|had|persists?|remains?|reflects?|shows?|appears?|cannot|may|resolved|noted|seen|"
    r"increased|decreased|improved|worsened|unchanged|stable|removed|placed|improving|includes?|demonstrates?|"
    r"reveals?|:"
)
FINITE = r"is|are|was|were|has|have|had|persists?|remains?|reflects?|shows?|appears?|cannot|may"
NEW_PART = (
    r"after|following|since|despite|status post|because of|secondary to|consistent with|suggesting|suggestive of|"
    r"representing|represents?|reflecting|compatible with|due to|from|causing|with|without|plus|and|or"
)

# An adverb beside a word of change is part of it: "slightly increased" is no size. "Small" and the like are adverbs
# only before a noun of change: "a small increase", but "a small increasing effusion".
_ADVERB = (
    r"(?:slight(?:ly)?|mildly|minimal(?:ly)?|moderately|marked(?:ly)?|significant(?:ly)?|substantial(?:ly)?|"
    r"considerabl[ey]|dramatic(?:ally)?|somewhat|slowly|gradual(?:ly)?|severely|grossly|subtle|appreciabl[ey]|"
    r"modest(?:ly)?|marginal(?:ly)?|tiny|overall|much|even|further|again|also|rather|minor|roughly|very|definitely|"
    r"clearly|interval|subtly|greatly|notabl[ey]|steadily|progressively|continued|likely|perhaps|extensively|more|"
    r"only|in the interval|since)"
)
_NOUN_OF_CHANGE = (
    r"(?:increase|decrease|improvement|worsening(?= (?:of|in))|progression|enlargement(?= of (?:the )?(?!heart|"
    r"cardiac|cardio))|reduction|growth|resolution|clearing(?= (?:of|in))|regression)"
)
_SIZE_BEFORE_NOUN = r"(?:small|mild|moderate|large|severe|big|massive|extensive|minute|faint)"
ADVERBS_BEFORE = rf"(?:{_ADVERB}[ -])*"
SIZED_NOUN = rf"(?:{_SIZE_BEFORE_NOUN} (?:interval )?(?={_NOUN_OF_CHANGE}\b))?"
ADVERBS_AFTER = (
    r"(?: (?:very )?(?:slightly|mildly|minimally|moderately|markedly|significantly|substantially|considerably|"
    r"dramatically|somewhat))?"
)
PARTIAL = (
    r"(?:partial(?:ly)?|near(?:ly)?|almost|incomplete(?:ly)?|largely|mostly|essentially|some|slowly|substantially|"
    r"significantly|markedly|near-|considerably|partly|somewhat|in (?:large )?part|for the most part|to a (?:large|"
    r"great|significant|considerable|marked) (?:extent|degree))"
)
_NO_NOUN = r"(?!new\b|evidence\b|or\b|and\b|nor\b|\w*(?:effusion|consolid|edema|opaci|pneumo|atelec|fractur|nodul))"
_MOVEMENT = (
    r"increase\w*|decrease\w*|worsen\w*|progress\w*|improve\w*|enlarge\w*|growth|differen\w+|resol\w+|"
    r"clear(?:ing|ed)|expan\w+"
)
CHANGES = {
    "new": r"new(?:ly)?|interval (?:development|appearance|onset|accumulation|occurrence|formation)|development of|"
    r"(?:has|have) (?:\w+ )?(?:developed|appeared|arisen|sustained)|developed(?: since)?|sustained|"
    r"appearance of (?:an? |new )|(?:has|have) occurred|"
    rf"now {_SEEN}|not {_SEEN} (?:previously|before|(?:on|in|at) (?:the |an? )?{_OLDER}|(?:on|in)(?=\W*$))|"
    r"previously (?:normal|absent|clear|not|un\w+)|(?:has|have) become (?:visible|apparent|evident)|recurren\w+|"
    r"recurred|reappear\w+",
    "worse": r"increas(?!ed (?:interstitial (?!(?:pulmonary )?edema)|lung (?!edema)|bronch|density of|"
    r"markings))\w+(?: in size)?|larger|enlarging|(?:has|have) (?:\w+ )?enlarged|enlarged since|enlarged in size|"
    r"enlargement of(?! (?:the )?(?:heart|cardi|mediast))|"
    r"(?:interval|progressive|slight)(?= (?:enlargement|widening) )|"
    r"further(?: (?:increase\w*|progress\w*)|(?= (?:enlargement|widening|collapse|opacif\w+|consolidat\w+)))|"
    r"wors(?:e|ened|ening|ens)|progress(?:ed|ion|ing|ive(?:ly)?)|"
    r"more (?:extensive|prominent|severe|pronounced|conspicuous|dense|marked|confluent|widespread|apparent|enlarged|"
    r"visible|evident|opaque|opacified)|grow(?:n|s|ing)|growth|grew|greater(?! than (?:the )?(?:left|right))|bigger|"
    r"expanded|extended|aggravat\w+|denser|(?:has|have) evolved into|deteriorat\w+|exacerbat\w+|re-?accumulat\w+|"
    r"coalesc\w+|extension|doubled|tripled|twice (?:as|the)|accumulat\w+|now involv\w+|not? (?:\w+ )?as small as|"
    r"blossom\w+|bloom\w+|flar(?:ed|ing)|heavier|intensif\w+|(?:gone|come|going|crept|inched|moved) up|risen|rising|"
    r"balloon\w+|escalat\w+|spread(?:ing)?|thicker|widened|mounting|evolving into",
    "improved": r"decreas\w+(?: in size)?|smaller|improv(?!ed (?:visuali[sz]ation|inspiration))\w+|diminish\w+|"
    r"less (?:extensive|prominent|severe|pronounced|conspicuous|dense|marked|confluent|widespread|apparent|enlarged|"
    r"visible|evident|opaque|than(?! (?:\d|an?\b)))|reduc\w+|resolving|lessen\w+|reced\w+|regress\w+|clearing|halved|"
    r"half (?:as|the)|not? (?:\w+ )?as (?:large|severe|extensive|big|dense|prominent|marked)|"
    rf"(?:clear|resol|drain|evacuat|re-?absor|resor)\w+ {PARTIAL}|{PARTIAL} (?:\w+ )?"
    r"(?:clear\w*|resol\w*|drain\w*|evacuat\w+|re-?absor\w+|resorb\w+)|shr[aiu]nk\w*|subsid\w+|"
    r"better(?! (?:seen|visuali[sz]ed|demonstrated|appreciated|evaluated|defined|delineated|assessed))|abat\w+|"
    r"thinn(?:ed|er)|wan(?:ed|ing|es)|fad(?:ed|ing|es)|ameliorat\w+|eas(?:ed|ing)|dwindl\w+|"
    r"(?:come|gone|going|coming) down|taper\w+|lighter|lightened|less(?! than| likely)|lower in volume|"
    r"all but (?:clear\w+|resol\w+|gone|disappear\w+)|on the (?:mend|wane)|trace residual",
    "stable": r"unchanged|stable|stably|similar|constant|as before|than before|"
    rf"(?:no|without|little|not?)(?: {_NO_NOUN}[\w-]+){{0,4}}? chang\w+|"
    rf"(?:no|without|not|little)(?: {_NO_NOUN}[\w-]+){{0,3}}? (?:{_MOVEMENT})(?: of| in)?|"
    rf"as (?:on|in) (?:the )?{_OLDER}|not (?:\w+ ){{0,2}}chang\w+|comparable|static|unaltered|the same|"
    r"plateau\w*|steady|identical|has not budged|as it was|"
    r"neither (?:\w+ )?(?:\w+ed|\w+ing|better|worse|larger|smaller|more|less)(?: \w+)? nor (?:\w+ )?(?:\w+ed|\w+ing|"
    r"better|worse|larger|smaller|more|less)(?: than)?|"
    r"again (?:seen|noted|demonstrated|identified|visuali[sz]ed|is|are)|"
    r"again(?= (?:small|mild|moderate|large|severe))|re-?demonstrat\w+|re-?identified|chronic|long-?standing|old|"
    r"healed|healing|known",
    "still": r"persist\w*|remain(?:s|ing|ed)?|continu\w+|still|residual",
    "resolved": r"resol(?:ved|ution)|cleared|"
    r"(?:complete|full|total|interval) (?:clearing|clearance|resorption|drainage|evacuation|resolution)|"
    r"(?:completely|fully|entirely) (?:cleared|resolved|resorbed)|disappear\w*|vanished|gone(?! from)|"
    r"no longer(?! (?:in (?!place|situ)|at|within|coiled|kinked|looped|curled|abut\w*|malposition\w*|extend\w*|"
    r"reach\w*|project\w*|directed))(?: (?:be|is|are))?(?: \w+)?|"
    rf"not {_SEEN} (?:anymore|any (?:more|longer))|(?:{_SEEN} )?any longer|"
    r"(?:is|are|has been|have been) (?:completely |fully )?(?:drained|evacuated|re-?absorbed|resorbed)|"
    r"(?:completely|fully) (?:drained|evacuated|re-?absorbed|resorbed|re-?aerated|re-?expanded)|re-?expanded|"
    r"normali[sz]\w+|return\w* to normal|resorbed|reabsorbed|melted away|evacuated|"
    r"(?:has|have) given way to (?:clear|normal)(?: \w+){0,3}",
}
# What had changed before: it says nothing of this film.
CHANGED_BEFORE = (
    r"(?:previously|formerly|prior|previous) (?:the )?(?:larger|smaller|increas\w+|enlarg\w+|decreas\w+|wors\w+|"
    r"improv\w+|new)(?: of the two)?|"
    r"(?:had|having) (?:been )?(?:\w+ly )?(?:increas\w+|decreas\w+|wors\w+|improv\w+|developed|enlarg\w+|progress\w+)"
)
NO_MORE_CHANGED = r"no longer (?:enlarg\w+|increas\w+|decreas\w+|wors\w+|improv\w+)"

# What is done with tubes and lines.
HANDLING = {
    "new": r"(?:newly |recently |interval )?(?:placement|insertion|plac(?:ed|ing)|inserted|introduced|implanted|"
    r"added|introduction)(?: of)?|(?:has|have) undergone (?:re-?)?intubation",
    "resolved": r"remov(?:ed|al)(?: of)?|taken out|pulled(?: out)?|withdrawn|discontinued|explant\w+|"
    r"(?:is|are|has come|have come) out(?! of)",
    "stable": r"(?:pulled|drawn) back|retracted|withdrawn (?=slightly|by|about|approximately|\d)|slightly withdrawn|"
    r"partially withdrawn|"
    r"(?:has|have|been) (?:\w+ )?(?:advanced|repositioned|moved|migrated|readjusted|adjusted|manipulated|clamped|"
    r"retracted)|advanced|repositioned|readjusted|advancement|repositioning(?: of)?|"
    r"(?:replaced|exchanged)(?= (?:and|with (?:its|the) tip)|\W*$)|"
    r"in (?:unchanged|standard|stable|satisfactory|appropriate|expected) position",
    "exchange": r"exchanged? (?:for|to|with)|replaced (?:by|with)|changed (?:to|for)|converted to|"
    r"substituted (?:by|for)|replacement (?:by|with)|swapped for|switched to|in place of",
    "exchange back": r"(?:has|have) replaced|replaces|replacing|exchanged from",
}
MOVED_IF_LEFT = r"\b(?:now|tip|ends|terminat\w+|lies|remains? (?:in|within)|located|cm|above|slightly|back)\b"
ONE_OF = r"\b(?:one|1|two|2) of (?:the )?(?:two|three|four|2|3|4)\b|\bone of the\b|\bone (?:left|right)\b"

# Sizes of the past: each has a group ``size``.
PAST = (
    r"(?:previously|formerly|before|earlier|prior(?:ly)?)(?: (?:was|were|seen|noted|described|as|an?|"
    r"the)){{0,3}} (?P<size>{size})",
    r"(?:was|were|had been) (?:(?:previously|formerly|an?) )*(?P<size>{size})(?! (?:seen|noted))",
    r"(?<!less )(?<!more )(?P<size>{size})(?=(?: (?!than)\w+){{0,3}}? (?:seen |noted )?(?:on|in|at)(?: the|"
    r" an?)? (?:prior|previous|earlier|last|yesterday))",
    r"(?<!less )(?<!more )(?P<size>{size}) (?:on|in|at)(?=\s*(?:[,.;)]|$|and\b))",
    r"compared (?:to|with) (?:the |an? )?(?:previous(?:ly)? )?(?P<size>{size})",
    r"less than (?:the )?(?P<size>{size})",
    r"no longer (?P<size>{size})",
    r"from (?:an? )?(?:prior |previous(?:ly)? )?(?P<size>{size})",
    r"from (?:an? )?(?P<size>{size}) (?:in (?:size|severity|degree) )?to(?= (?:an? |now )?{size})",
)
# Two measures: the group ``change`` is what tells them apart, so that a finding between them keeps its words.
MEASURES = (
    r"(?P<change>(?:measured|was|previously|formerly)(?: at)? (?P<then>\d+(?:\.\d+)?) ?(?P<unit_then>cm|"
    r"mm)?)[^.;\d]{0,50}?\b(?:now|currently|today)\b[^.;\d]{0,30}?(?P<now>\d+(?:\.\d+)?) ?(?P<unit>cm|mm)?",
    r"(?P<now>\d+(?:\.\d+)?) ?(?P<unit>cm|mm)?[^.;]{0,40}?(?P<change>(?:previously|prior|formerly|compared (?:to|"
    r"with)|was|versus|before|as (?:opposed to|against)|(?:up|"
    r"down) from)[^.;\d]{0,30}(?P<then>\d+(?:\.\d+)?) ?(?P<unit_then>cm|mm)?)",
    r"(?P<change>from (?P<then>\d+(?:\.\d+)?) ?(?P<unit_then>cm|mm)? to (?P<now>\d+(?:\.\d+)?) ?(?P<unit>cm|mm)?)",
)
RANGE = r"(?<!from )(?<!from a )(?P<low>{size})(?:-to-| to |/)(?P<high>{size})"
PRONOUN = r"it|they|these|this|those|that|the former|the latter|ones?"

"""Words that are about what a photo shows (people, animals, plants, things, places, weather, hours, colours), not about
how it was taken: a critique may use one only where something vouches for it. Chosen by hand among the words of 15,000
sentences of critiques, ordered by how much more often descriptions of pictures use them.
"""

from __future__ import annotations

__all__ = ["SCENE_WORDS"]

_WORDS = """
people person persons man men woman women girl girls boy boys child children baby kid kids lady guy guys couple crowd
group family friend friends mother father son daughter artist painter photographer rider player dancer model models
figure figures human anyone someone everyone somebody he she him her his hers himself herself they them their they're
he's she's themselves john leonard
face faces facial eyes eyed ear ears nose mouth lips teeth hair hairs head heads neck chest shoulder shoulders arm arms
hand hands finger fingers leg legs foot feet skin body bodies toes nail nails chin cheek forehead smile smiling gaze
stare expression expressions pose poses posed posing posture tattoo muscle muscles profile heart
animal animals dog dogs cat cats horse horses cow cows bird birds gull seagull eagle owl duck ducks swan goose geese
hawk heron beak feather feathers wing wings tail fur paw paws deer bear squirrel rabbit lion tiger elephant monkey fish
frog snake lizard turtle spider bee bees butterfly butterflies dragonfly fly ladybug ladybugs ant bug bugs insect
insects moth snail wildlife pet puppy kitten zebra gull antlers horns whiskers
flower flowers floral petal petals rose roses tulip lily daisy sunflower blossom blossoms bloom blooms bud buds stem
stems leaf leaves tree trees branch branches twig twigs trunk trunks bark root roots bush bushes foliage greenery grass
grasses plant plants vegetation forest woods garden moss fern seed seeds berries berry fruit fruits apple apples orange
oranges lemon tomato tomatoes grape grapes cherry strawberry vegetable vegetables mushroom mushrooms corn
sky skies cloud clouds cloudy sun sunny sunlight sunlit sunset sunsets sunrise sunrises dusk dawn moon star stars rain
raindrop raindrops snow snowy ice fog foggy mist misty storm lightning rainbow weather overcast wind windy season
winter summer autumn fall spring morning noon afternoon evening night nights nighttime daylight daytime midday day
days
water waters waterfall waterfalls wave waves ocean sea lake river stream creek pond pool beach shore shoreline coast
sand dunes dune island rock rocks rocky stone stones pebbles cliff cliffs mountain mountains hill hills valley field
fields desert land landscape landscapes seascape cityscape nature natural environment earth ground dirt mud soil trail
path drop drops droplet droplets drip splash bubble bubbles spray foam reflection reflections reflected
city cities town village street streets road roads roadway highway sidewalk walkway path alley bridge bridges building
buildings house houses home church cathedral castle tower towers lighthouse skyline architecture architectural barn
shed cabin hut fence fences gate wall walls brick bricks window windows door doors doorway roof roofs column columns
arch arches stairs staircase steps railing rail rails pole poles post posts wire wires tracks track tunnel tunnels pier
dock docks harbour harbor port fountain statue statues sculpture monument bench benches park sign signs lamp lamps
streetlight factory station airport stadium room rooms floor ceiling kitchen bedroom bathroom table tables chair chairs
desk sofa bed shelf curtain curtains carpet mirror
car cars truck trucks bus train trains plane planes aeroplane airplane aircraft boat boats ship ships sail sails
sailboat bike bikes bicycle motorcycle wheel wheels tire tires engine vehicle vehicles traffic helicopter balloon
balloons kite
shirt dress hat suit cloth clothes clothing fabric shoes shoe boots glove gloves scarf jacket jeans uniform glasses
sunglasses necklace jewelry ring rings watch watches umbrella bag basket box boxes bottle bottles glass cup cups mug
bowl plate plates knife fork spoon food meal bread cake chocolate coffee tea wine milk egg eggs cheese candy cookie
cookies meat pepper candle candles fire flame flames smoke lightbulb bulb match matches book books paper pen pencil
pencils crayons card cards letter letters newspaper poster posters text font logo word words phone computer keyboard
screen clock coin coins money toy toys doll dolls ball balls gun guitar piano instrument music drum flag flags rope
ropes chain chains metal wood wooden plastic concrete steel iron rust rusty leather canvas tool tools machine hammer
nails screw bolt button buttons string strings thread needle pipe pipes tube fan lock key keys
portrait portraits portraiture candid wedding bride groom party festival concert sport sports game soccer football
baseball basketball race racing runner surfer surfing fishing dance dancing performance travel holiday christmas
halloween easter birthday
red reds blue blues green greens yellow yellows orange oranges pink pinks purple violet brown browns gold golden silver
turquoise cyan magenta
border borders caption watermark signature date postcard album advertisement ad ads commercial poster
macro closeup close-up panorama panoramic aerial underwater snapshot telephoto lensbaby fisheye
walking walks walk running runs run standing stands sitting sits sit lying lies holding holds flying flies jumping
jumps playing sleeping eating drinking wearing driving riding swimming climbing talking waiting staring laughing
crying reading working
country american indian chinese english italian french america india china london paris york venice africa
god love death war history century ancient old older young elderly age
"""

SCENE_WORDS: frozenset[str] = frozenset(_WORDS.split())

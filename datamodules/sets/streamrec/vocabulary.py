"""What items are about: topics by category, with the words in which people speak of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A topic and its words.

    Args:
        name: as it stands in tags.
        category: which it belongs to.
        things: what such items deal with; fits "the story of …".
        doings: what people do there; fits "shows …".
    """

    name: str
    category: str
    things: tuple[str, ...]
    doings: tuple[str, ...]


# Three lines a topic: its category and name, its things, its doings.
_WORDS = """
food: baking
sourdough bread, cinnamon rolls, puff pastry, birthday cakes, oat cookies, apple pie, croissants, cheesecake
kneading dough by hand, icing a layer cake, baking in a cold oven, proving dough overnight
food: street food
tacos, ramen noodles, falafel wraps, dumplings, satay skewers, fish and chips, kebabs, bubble tea
eating at a night market, frying over charcoal, folding dumplings, tasting at every stall
food: vegan cooking
chickpea curry, tofu scrambles, lentil stew, oat milk, roasted cauliflower, bean burgers, cashew cheese, green smoothies
cooking without meat, soaking beans, planning plant-based meals, seasoning vegetables
food: coffee and tea
espresso, pour-over coffee, latte art, matcha, oolong tea, cold brew, bean roasting, coffee grinders
pulling a perfect shot, steaming milk, steeping loose leaves, tasting single origins
sport: football
penalty kicks, offside rules, goalkeepers, league finals, free kicks, tactics, youth academies, derby matches
defending a corner, passing out from the back, pressing high, scoring from distance
sport: running
marathon training, trail running, running shoes, intervals, 5K races, sprint technique, recovery runs, park races
pacing a long run, stretching tired calves, running uphill, training before sunrise
sport: climbing
bouldering, lead climbing, ice walls, rope knots, finger strength, big walls, climbing shoes, belay technique
reading a route, hanging on small holds, abseiling safely, falling without fear
sport: cycling
mountain bikes, road racing, gravel rides, bike repair, hill climbs, the Tour de France, commuter bikes, track sprints
fixing a flat tyre, riding in a bunch, descending fast, fitting a saddle
science: astronomy
black holes, the moons of Jupiter, telescopes, supernovae, exoplanets, the Milky Way, meteor showers, cosmic radiation
looking at the night sky, measuring starlight, photographing nebulae, tracking comets
science: biology
gene editing, bacteria, photosynthesis, the immune system, stem cells, evolution, enzymes, viruses
growing cell cultures, reading DNA, looking through a microscope, dissecting a leaf
science: physics
quantum mechanics, magnetism, relativity, superconductors, particle colliders, lasers, thermodynamics, pendulums
splitting light, measuring gravity, bending beams, cooling atoms
science: earth and climate
glaciers, volcanoes, ocean currents, hurricanes, plate tectonics, carbon cycles, droughts, fossil layers
drilling ice cores, reading weather maps, mapping earthquakes, sampling lava
music: classical music
string quartets, Beethoven symphonies, opera arias, piano sonatas, orchestras, violin concertos, baroque fugues, choirs
conducting an orchestra, tuning a violin, sight-reading a score, rehearsing a quartet
music: electronic music
modular synthesizers, techno clubs, drum machines, ambient music, DJ sets, house beats, samplers, sound design
patching a synthesizer, mixing two records, programming a beat, mastering a track
music: jazz
saxophone solos, bebop, big bands, jazz standards, double bass, trumpet legends, swing rhythm, piano trios
improvising over chords, swinging eighth notes, playing by ear, trading solos
music: guitar
acoustic guitars, blues riffs, fingerpicking, guitar pedals, power chords, flamenco guitar, amplifiers, slide guitar
changing strings, strumming a rhythm, bending notes, learning barre chords
travel: city trips
Lisbon, Tokyo, Istanbul, Prague, Mexico City, Marrakesh, Copenhagen, New York
strolling through old quarters, riding the metro, finding a small hotel, visiting museums
travel: hiking
mountain trails, hut tours, national parks, backpacks, long paths, alpine passes, coastal walks, canyon trails
packing light, reading a map, crossing a stream, walking above the tree line
travel: train journeys
night trains, the Trans-Siberian, mountain railways, steam engines, sleeper cars, fast trains, branch lines, stations
crossing a continent by rail, booking a sleeper, dining on board, changing trains
travel: van life
camper vans, roadside camps, solar panels, desert roads, ferry crossings, tiny kitchens, snow camps, road trips
building a bed, sleeping by the sea, saving water, driving gravel roads
technology: programming
Python, web frameworks, databases, unit tests, algorithms, compilers, open source software, version control
debugging a crash, reviewing code, writing clean functions, deploying a server
technology: robots
robot arms, humanoid robots, drones, self-driving cars, sensors, robot vacuums, motor control, swarm robots
soldering a circuit, training a gripper, balancing on two legs, flying by camera
technology: gadgets
smartphones, headphones, smart watches, laptops, cameras for beginners, e-readers, mechanical keyboards, tablets
unboxing a new phone, measuring battery life, comparing screens, repairing a laptop
technology: artificial intelligence
neural networks, language models, image generators, chess engines, speech recognition, translation, data centres
training a model, writing prompts, testing for bias, explaining a prediction
nature: birds
garden birds, eagles, owls, migrating geese, penguins, hummingbirds, bird song, parrots
watching with binoculars, ringing young birds, hanging nest boxes, identifying calls
nature: ocean life
coral reefs, whales, octopuses, sea turtles, sharks, jellyfish, kelp forests, deep-sea fish
diving at night, following a pod, counting reef fish, tagging sharks
nature: gardening
tomatoes, rose bushes, compost, raised beds, herb gardens, fruit trees, balcony plants, lawn care
pruning in winter, sowing seeds indoors, watering wisely, turning compost
nature: dogs and cats
puppies, rescue cats, dog training, kittens, sheepdogs, cat behaviour, walking with dogs, old pets
teaching a puppy to sit, brushing long fur, calming a nervous cat, playing fetch
history: ancient Rome
gladiators, Roman roads, Pompeii, Julius Caesar, aqueducts, the legions, Roman baths, the Senate
marching with a legion, digging at the forum, minting coins, building an arch
history: the Middle Ages
knights, castles, monasteries, the plague, Vikings, cathedrals, guilds, medieval kitchens
storming a castle, copying a manuscript, forging a sword, living as a monk
history: wars of the twentieth century
the trenches, code breakers, the Normandy landings, tank battles, the Cold War, submarines, war diaries, partisans
decoding a message, reading letters from the front, crossing the Channel, hiding in cellars
history: inventions
the printing press, steam power, the telephone, light bulbs, early aeroplanes, the compass, clocks, the first computers
filing a patent, rebuilding an old machine, printing a page, winding a clock
home: woodworking
oak tables, dovetail joints, hand planes, bookshelves, wooden spoons, workbenches, chisels, rocking chairs
sharpening a blade, gluing boards, turning a bowl, sanding with the grain
home: knitting and sewing
wool socks, quilts, sewing machines, cable sweaters, linen shirts, crochet blankets, hems, embroidery
casting on stitches, cutting a pattern, mending a sleeve, dyeing yarn
home: interior design
small flats, living rooms, paint colours, Scandinavian furniture, lighting, kitchens, vintage chairs, wallpaper
choosing a sofa, painting a wall, hanging pictures, arranging shelves
home: personal finance
index funds, household budgets, mortgages, pensions, savings accounts, student loans, taxes, frugal living
paying off debt, tracking expenses, comparing interest rates, planning for retirement
wellbeing: yoga
sun salutations, headstands, breathing exercises, yin yoga, morning stretches, hip openers, yoga mats, balance poses
opening the shoulders, holding a plank, breathing slowly, flowing between poses
wellbeing: meditation
mindfulness, sleep meditations, quiet retreats, body scans, mantras, stress relief, gratitude, silent walks
sitting still, letting thoughts pass, calming the mind, falling asleep gently
wellbeing: strength training
deadlifts, kettlebells, push-ups, squats, home gyms, protein, bench presses, pull-ups
lifting with a straight back, adding weight slowly, warming up shoulders, counting sets
wellbeing: parenting
newborn babies, toddlers, bedtime, picky eaters, teenagers, school mornings, sibling quarrels, first words
soothing a baby, reading aloud, setting limits kindly, talking to teenagers
"""


def _topics(words: str) -> tuple[Topic, ...]:
    lines = words.strip().split("\n")
    found = []
    for k in range(0, len(lines), 3):
        category, name = lines[k].split(": ")
        found.append(Topic(name, category, tuple(lines[k + 1].split(", ")), tuple(lines[k + 2].split(", "))))
    return tuple(found)


TOPICS: tuple[Topic, ...] = _topics(_WORDS)
CATEGORIES: tuple[str, ...] = tuple(dict.fromkeys(topic.category for topic in TOPICS))

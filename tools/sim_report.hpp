#pragma once

#include <string>

#include "page.hpp"
#include "provenance.hpp"
#include "simulation.hpp"

namespace tool {

/// The page of pc-sim: what happened to the requests, what it saves, efficiency and wrong hits over tau, provenance.
Page simulation_page(const Simulation& simulation, const SimulationOptions& options, const Provenance& provenance);

}  // namespace tool

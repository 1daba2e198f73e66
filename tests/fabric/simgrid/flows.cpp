// Fluid flows over given routes in SimGrid: when does each one end?
//
// Asked:  flows that start together, each over a list of links; links with a capacity and no latency.
// Answer: SimGrid's own max-min fluid model (CM02) with everything of TCP turned off: no factors, no gamma, no weights by
//         latency, no cross traffic. Each flow has hosts of its own, so only the named links are shared.
// Reads:  links flows
//         bytes_per_s of each link
//         a line a flow: nbytes, how many links, their numbers
// Prints: the second at which each flow ends, a line each.
// Limits: a link named twice by one flow counts twice here as well.

#include <fstream>
#include <iomanip>
#include <iostream>
#include <simgrid/s4u.hpp>
#include <string>
#include <vector>

namespace sg4 = simgrid::s4u;

struct Flow {
  sg4::Host* from;
  sg4::Host* to;
  uint64_t nbytes;
};

static void send_all(const std::vector<Flow>& flows)
{
  std::vector<sg4::CommPtr> running;
  for (auto const& flow : flows)
    running.push_back(sg4::Comm::sendto_async(flow.from, flow.to, flow.nbytes));
  for (auto const& comm : running) {
    comm->wait();
    std::cout << std::setprecision(12) << comm->get_finish_time() << "\n";
  }
}

int main(int argc, char** argv)
{
  sg4::Engine engine(&argc, argv);
  for (auto const* setting : {"network/model:CM02", "network/crosstraffic:0", "network/latency-factor:1",
                              "network/bandwidth-factor:1", "network/weight-S:0", "network/TCP-gamma:0"})
    sg4::Engine::set_config(setting);
  std::ifstream file(argv[1]);
  size_t links, count;
  file >> links >> count;
  auto* zone = sg4::create_full_zone("fabric");
  std::vector<sg4::LinkInRoute> there;
  for (size_t i = 0; i < links; i++) {
    double bytes_per_s = 0;
    file >> bytes_per_s;
    auto* link = zone->create_link("link" + std::to_string(i), bytes_per_s);
    link->set_latency(0)->seal();
    there.emplace_back(link);
  }
  std::vector<Flow> flows;
  for (size_t i = 0; i < count; i++) {
    uint64_t nbytes;
    size_t hops, link;
    if (!(file >> nbytes >> hops)) {
      std::cerr << "that file ends too early, or holds what is no number\n";
      return 2;
    }
    std::vector<sg4::LinkInRoute> route;
    for (size_t j = 0; j < hops; j++) {
      file >> link;
      route.push_back(there.at(link));
    }
    auto* from = zone->create_host("from" + std::to_string(i), 1e9)->seal();
    auto* to   = zone->create_host("to" + std::to_string(i), 1e9)->seal();
    zone->add_route(from->get_netpoint(), to->get_netpoint(), nullptr, nullptr, route, false);
    flows.push_back({from, to, nbytes});
  }
  zone->seal();
  sg4::Actor::create("sender", flows.at(0).from, send_all, flows);
  engine.run();
  return 0;
}

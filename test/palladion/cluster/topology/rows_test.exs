defmodule Palladion.Cluster.Topology.RowsTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster.Topology.Rows

  @control %{
    endpoint: "db1.example:9042",
    address: "10.0.0.1",
    port: 9042,
    names: [],
    contact_point: true
  }

  @ids Map.new(1..9, &{&1, "0000000#{&1}-0000-4000-8000-00000000000#{&1}"})

  # As a 3.11 node has them: no ports anywhere, and tokens as a set of texts.
  defp local_3(number, more \\ %{}) do
    Map.merge(
      %{
        "key" => "local",
        "bootstrapped" => "COMPLETED",
        "broadcast_address" => {10, 0, 0, number},
        "cluster_name" => "Test Cluster",
        "cql_version" => "3.4.4",
        "data_center" => "dc1",
        "gossip_generation" => 1_700_000_000,
        "host_id" => @ids[number],
        "listen_address" => {10, 0, 0, number},
        "native_protocol_version" => "4",
        "partitioner" => "org.apache.cassandra.dht.Murmur3Partitioner",
        "rack" => "rack1",
        "release_version" => "3.11.17",
        "rpc_address" => {10, 0, 0, number},
        "schema_version" => "59adb24e-f3cd-3e02-97f0-5b395827453f",
        "thrift_version" => "20.1.0",
        "tokens" => MapSet.new(["-9223372036854775808"]),
        "truncated_at" => nil
      },
      more
    )
  end

  defp peer_3(number, more \\ %{}) do
    Map.merge(
      %{
        "peer" => {10, 0, 0, number},
        "data_center" => "dc1",
        "host_id" => @ids[number],
        "preferred_ip" => nil,
        "rack" => "rack1",
        "release_version" => "3.11.17",
        "rpc_address" => {10, 0, 0, number},
        "schema_version" => "59adb24e-f3cd-3e02-97f0-5b395827453f",
        "tokens" => MapSet.new(["0"])
      },
      more
    )
  end

  # As 4.0 to 5.0 have them.
  defp local_4(number, more \\ %{}) do
    more =
      Map.merge(
        %{
          "broadcast_port" => 7000,
          "listen_port" => 7000,
          "rpc_port" => 9042,
          "release_version" => "5.0.2",
          "native_protocol_version" => "5"
        },
        more
      )

    number |> local_3(more) |> Map.drop(["thrift_version"])
  end

  defp peer_4(number, more \\ %{}) do
    Map.merge(
      %{
        "peer" => {10, 0, 0, number},
        "peer_port" => 7000,
        "data_center" => "dc1",
        "host_id" => @ids[number],
        "native_address" => {10, 0, 0, number},
        "native_port" => 9042,
        "preferred_ip" => nil,
        "preferred_port" => nil,
        "rack" => "rack1",
        "release_version" => "5.0.2",
        "schema_version" => "59adb24e-f3cd-3e02-97f0-5b395827453f",
        "tokens" => MapSet.new(["0"])
      },
      more
    )
  end

  defp read(local, peers, control \\ @control), do: Rows.read(List.wrap(local), peers, control)

  defp places(local, peers, control \\ @control) do
    for node <- read(local, peers, control).nodes, do: {node.host_id, node.address, node.port}
  end

  describe "servers as they are:" do
    test "Cassandra 3.11" do
      read = read(local_3(1), [peer_3(2), peer_3(3, %{"rack" => "rack2"})])

      assert [one, two, three] = read.nodes
      assert read.local_datacenter == "dc1"
      assert read.notes == []

      assert one == %Palladion.Node{
               host_id: @ids[1],
               address: "10.0.0.1",
               port: 9042,
               datacenter: "dc1",
               rack: "rack1",
               release_version: "3.11.17",
               schema_version: "59adb24e-f3cd-3e02-97f0-5b395827453f"
             }

      assert %{address: "10.0.0.2", port: 9042, rack: "rack1"} = two
      assert %{address: "10.0.0.3", port: 9042, rack: "rack2"} = three
    end

    test "Cassandra 3.11 on another port than the usual: all nodes are taken to be on it" do
      control = %{@control | port: 9142}

      assert places(local_3(1), [peer_3(2)], control) ==
               [{@ids[1], "10.0.0.1", 9142}, {@ids[2], "10.0.0.2", 9142}]
    end

    test "Cassandra 4 and 5, with a port for each" do
      peers = [peer_4(2, %{"native_port" => 9043}), peer_4(3)]

      assert places(local_4(1, %{"rpc_port" => 9044}), peers) ==
               [
                 {@ids[1], "10.0.0.1", 9044},
                 {@ids[2], "10.0.0.2", 9043},
                 {@ids[3], "10.0.0.3", 9042}
               ]
    end

    test "several nodes on one address, each with a port" do
      peers =
        for n <- 2..3,
            do: peer_4(n, %{"native_address" => {10, 0, 0, 1}, "native_port" => 9040 + n})

      assert places(local_4(1, %{"rpc_port" => 9041}), peers) ==
               for(n <- 1..3, do: {@ids[n], "10.0.0.1", 9040 + n})
    end

    test "ScyllaDB" do
      local = %{
        "key" => "local",
        "bootstrapped" => "COMPLETED",
        "broadcast_address" => {10, 0, 0, 1},
        "cluster_name" => "",
        "cql_version" => "3.3.1",
        "data_center" => "datacenter1",
        "gossip_generation" => 1_700_000_000,
        "host_id" => @ids[1],
        "listen_address" => {10, 0, 0, 1},
        "native_protocol_version" => "4",
        "rack" => "rack1",
        "release_version" => "3.0.8",
        "rpc_address" => {10, 0, 0, 1},
        "schema_version" => "59adb24e-f3cd-3e02-97f0-5b395827453f",
        "supported_features" => "AGGREGATE_STORAGE_OPTIONS",
        "tokens" => ["1", "2"],
        "truncated_at" => nil
      }

      # A node that has just joined has an empty row for a while.
      joining = %{"peer" => {10, 0, 0, 3}, "host_id" => @ids[3], "data_center" => nil}

      read =
        read(local, [peer_3(2, %{"data_center" => "datacenter1", "dse_version" => nil}), joining])

      assert Enum.map(read.nodes, & &1.address) == ["10.0.0.1", "10.0.0.2"]

      assert [{:debug, "the row of the peer 10.0.0.3 is left out: it has no datacenter" <> _}] =
               read.notes
    end

    test "Keyspaces: the local row says loopback, and the peers repeat its host_id" do
      control = %{
        @control
        | address: "3.234.248.192",
          port: 9142,
          names: [{"3.234.248.192", "cassandra.us-east-1.example"}]
      }

      local =
        local_3(1, %{
          "rpc_address" => {127, 0, 0, 1},
          "broadcast_address" => {127, 0, 0, 1},
          "data_center" => "us-east-1"
        })

      peers = [
        peer_3(1, %{
          "peer" => {3, 234, 248, 199},
          "rpc_address" => {3, 234, 248, 199},
          "data_center" => "us-east-1"
        }),
        peer_3(2, %{
          "peer" => {3, 234, 248, 200},
          "rpc_address" => {3, 234, 248, 200},
          "data_center" => "us-east-1"
        })
      ]

      read = read(local, peers, control)

      assert [%{contact_point: "cassandra.us-east-1.example"} = one, %{contact_point: nil} = two] =
               read.nodes

      assert {one.host_id, one.address, one.port} == {@ids[1], "3.234.248.192", 9142}
      assert {two.host_id, two.address, two.port} == {@ids[2], "3.234.248.200", 9142}
      assert read.local_datacenter == "us-east-1"
      assert read.notes == []
    end

    test "DSE, which has a column of its own for the address" do
      peer =
        peer_3(2, %{"native_transport_address" => {10, 1, 0, 2}, "native_transport_port" => 9042})

      assert [_, {_, "10.1.0.2", 9042}] = places(local_3(1), [peer])
    end

    test "IPv6" do
      control = %{@control | address: "2001:DB8::1", names: [{"2001:db8:0:0::1", "db1.example"}]}
      local = local_4(1, %{"rpc_address" => {0x2001, 0xDB8, 0, 0, 0, 0, 0, 1}})
      peer = peer_4(2, %{"native_address" => {0x2001, 0xDB8, 0, 0, 0, 0, 0, 2}})

      assert [%{address: "2001:db8::1", contact_point: "db1.example"}, %{address: "2001:db8::2"}] =
               read(local, [peer], control).nodes
    end
  end

  describe "addresses:" do
    test "a peer that announces none, or all, is where the others know it" do
      for announced <- [
            nil,
            {0, 0, 0, 0},
            {0, 0, 0, 0, 0, 0, 0, 0},
            :empty,
            "nonsense",
            {1, 2},
            {300, 0, 0, 1}
          ] do
        for peer <- [
              peer_3(2, %{"rpc_address" => announced}),
              peer_4(2, %{"native_address" => announced})
            ] do
          assert [_, {_, "10.0.0.2", 9042}] = places(local_3(1), [peer]), inspect(announced)
        end
      end
    end

    test "a local node that announces none, or all, is where the control connection goes to" do
      for announced <- [nil, {0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}] do
        local = local_3(1, %{"rpc_address" => announced, "broadcast_address" => {192, 168, 0, 1}})
        assert places(local, []) == [{@ids[1], "10.0.0.1", 9042}], inspect(announced)
      end
    end

    test "a peer without any is left out" do
      for peer <- [nil, {0, 0, 0, 0}, :empty] do
        read = read(local_3(1), [peer_3(2, %{"rpc_address" => nil, "peer" => peer})])
        assert [%{address: "10.0.0.1"}] = read.nodes
        assert [{:debug, "the row of the peer " <> _}] = read.notes
      end
    end

    test "loopback is another machine's own: the local node is as dialled, a peer is left out" do
      for loopback <- [
            {127, 0, 0, 1},
            {127, 8, 8, 8},
            {0, 0, 0, 0, 0, 0, 0, 1},
            {0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1}
          ] do
        peers = [peer_3(2, %{"rpc_address" => loopback}), peer_3(3)]

        assert places(local_3(1, %{"rpc_address" => loopback}), peers) ==
                 [{@ids[1], "10.0.0.1", 9042}, {@ids[3], "10.0.0.3", 9042}],
               inspect(loopback)
      end
    end

    test "loopback is fine where the control connection goes there, too" do
      control = %{@control | address: "127.0.0.1"}
      peers = for n <- 2..3, do: peer_4(n, %{"native_address" => {127, 0, 0, n}})

      assert places(local_4(1, %{"rpc_address" => {127, 0, 0, 1}}), peers, control) ==
               for(n <- 1..3, do: {@ids[n], "127.0.0.#{n}", 9042})
    end

    test "a port that is none is the control connection's" do
      for port <- [nil, 0, -1, 65_536, "9043", :empty] do
        assert [_, {_, _, 9042}] = places(local_4(1), [peer_4(2, %{"native_port" => port})]),
               inspect(port)
      end
    end
  end

  describe "identity:" do
    test "a row without a host_id or a datacenter is left out" do
      for {column, value} <- [
            {"host_id", nil},
            {"host_id", "no uuid"},
            {"host_id", 7},
            {"host_id", "0000000g-0000-4000-8000-000000000000"},
            {"data_center", nil},
            {"data_center", ""},
            {"data_center", :empty}
          ] do
        assert [{_, "10.0.0.1", _}] = places(local_3(1), [peer_3(2, %{column => value})]), column
        assert [{_, "10.0.0.2", _}] = places(local_3(1, %{column => value}), [peer_3(2)]), column
      end
    end

    test "a host_id in capitals is the same" do
      id = "ABCDEF00-0000-4000-8000-000000000000"
      peers = [peer_3(2, %{"host_id" => id}), peer_3(3, %{"host_id" => String.downcase(id)})]

      assert [_, {"abcdef00-0000-4000-8000-000000000000", "10.0.0.2", _}] =
               places(local_3(1), peers)
    end

    test "of rows with one host_id the first wins, the local one above all" do
      peers = [peer_3(2), peer_3(3, %{"host_id" => @ids[2]}), peer_3(4, %{"host_id" => @ids[1]})]
      read = read(local_3(1), peers)
      assert Enum.map(read.nodes, & &1.address) == ["10.0.0.1", "10.0.0.2"]
      assert read.notes == []
    end

    test "of nodes with one address and port the first wins, and it is told" do
      peers = [peer_3(2), peer_3(3, %{"rpc_address" => {10, 0, 0, 2}})]
      read = read(local_3(1), peers)
      assert Enum.map(read.nodes, & &1.host_id) == [@ids[1], @ids[2]]
      assert [{:warning, text}] = read.notes

      assert text ==
               "10.0.0.2:9042 is announced by two nodes; #{@ids[2]} is used, and #{@ids[3]} is not"
    end

    test "other columns may be missing" do
      row = Map.take(peer_3(2), ["peer", "host_id", "data_center"])

      assert [%{rack: nil, release_version: nil, schema_version: nil, address: "10.0.0.2"}] =
               read(nil, [row]).nodes
    end

    test "without a local row there are the peers, and no local datacenter" do
      assert %{nodes: [%{address: "10.0.0.2"}], local_datacenter: nil} = read(nil, [peer_3(2)])
    end

    test "without rows there is nothing" do
      assert read(nil, []) == %{nodes: [], local_datacenter: nil, notes: []}
    end
  end

  describe "contact points' names:" do
    test "the node at the address of a name has it" do
      names = [
        {"10.0.0.1", "db1.example"},
        {"10.0.0.2", "db2.example"},
        {"10.0.0.2", "other.example"}
      ]

      assert ["db1.example", "db2.example", nil] ==
               for(
                 node <-
                   read(local_3(1), [peer_3(2), peer_3(3)], %{@control | names: names}).nodes,
                 do: node.contact_point
               )
    end

    test "an address is no name" do
      control = %{@control | names: [{"10.0.0.1", "10.0.0.1"}, {"10.0.0.1", "db1.example"}]}
      assert [%{contact_point: "db1.example"}] = read(local_3(1), [], control).nodes

      assert [%{contact_point: nil}] =
               read(local_3(1), [], %{@control | names: [{"10.0.0.1", "10.0.0.1"}]}).nodes
    end
  end

  test "whatever rows hold, nodes have all that they need, and once each" do
    seed = System.unique_integer([:positive])
    :rand.seed(:exsss, seed)

    junk = [
      nil,
      :empty,
      "",
      "x",
      <<255>>,
      0,
      -1,
      9042,
      70_000,
      {},
      {1},
      {0, 0, 0, 0},
      {10, 0, 0, 9},
      {-1, 0, 0, 0},
      [],
      %{},
      MapSet.new(),
      1.5,
      @ids[1]
    ]

    columns =
      ~w(host_id data_center rack peer rpc_address native_address native_port rpc_port release_version schema_version)

    spoil = fn row ->
      columns
      |> Enum.take_random(:rand.uniform(5) - 1)
      |> Enum.reduce(row, &Map.put(&2, &1, Enum.random(junk)))
    end

    for _ <- 1..500 do
      local = Enum.random([[], [spoil.(local_4(1))], [spoil.(local_3(1))]])
      peers = for n <- 1..Enum.random(1..6), do: spoil.(Enum.random([peer_3(n), peer_4(n)]))
      %{nodes: nodes} = Rows.read(local, peers, @control)

      for node <- nodes do
        assert is_binary(node.host_id) and is_binary(node.datacenter) and is_binary(node.address),
               "seed #{seed}"

        assert node.port in 1..65_535, "seed #{seed}"
      end

      assert nodes == Enum.uniq_by(nodes, & &1.host_id), "seed #{seed}"
      assert nodes == Enum.uniq_by(nodes, &{&1.address, &1.port}), "seed #{seed}"
    end
  end
end

defmodule Palladion.Config.RegionTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.Region

  defp find(given, profile, environment, answer \\ :not_asked) do
    Region.find(given, profile, environment, fn request ->
      send(self(), {:asked, request})
      answer
    end)
  end

  @both %{"AWS_REGION" => "eu-west-1", "AWS_DEFAULT_REGION" => "eu-west-2"}

  test "as given, then of the environment, then of the profile" do
    assert find("us-east-1", nil, @both) == {:ok, "us-east-1"}
    assert find(nil, nil, @both) == {:ok, "eu-west-1"}
    assert find(nil, nil, Map.delete(@both, "AWS_REGION")) == {:ok, "eu-west-2"}
    assert find(nil, "dev", %{}, {:ok, "ap-south-1"}) == {:ok, "ap-south-1"}
    assert find(nil, nil, %{}, {:ok, nil}) == {:ok, nil}
  end

  test "an empty variable is none" do
    assert find("", nil, %{@both | "AWS_REGION" => ""}) == {:ok, "eu-west-2"}
  end

  test "the files are read with the profile, and with the variables that AWS's programs read" do
    environment = %{"AWS_PROFILE" => "dev", "HOME" => "/home/me", "PATH" => "/bin", "AWSX" => "1"}
    assert find(nil, "prod", environment, {:ok, nil}) == {:ok, nil}
    assert_received {:asked, %{profile: "prod", environment: pairs}}
    assert [{"AWS_PROFILE", secret}, {"HOME", _}] = Enum.sort(pairs)
    assert is_reference(secret)
  end

  test "nothing is read where it is known" do
    find(nil, "prod", @both)
    refute_received {:asked, _request}
  end

  test "is in lower case" do
    assert find("US-East-1", nil, %{}) == {:ok, "us-east-1"}
    assert find(nil, nil, %{"AWS_REGION" => "US-GOV-WEST-1"}) == {:ok, "us-gov-west-1"}
    assert find(nil, nil, %{}, {:ok, "CN-North-1"}) == {:ok, "cn-north-1"}
  end

  test "what is no region is told, with where it stands" do
    for {given, environment, answer, text} <- [
          {"us_east_1", %{}, :not_asked, "is no region, such as us-east-1"},
          {nil, %{"AWS_REGION" => "evil.example#"}, :not_asked,
           "AWS_REGION is \"evil.example#\""},
          {nil, %{}, {:ok, "here"}, "the profile has \"here\""},
          {nil, %{}, {:error, {:bad_config, %{option: "profile", detail: "no profile dev"}}},
           "no profile dev"}
        ] do
      assert {:error, message} = find(given, nil, environment, answer)
      assert message =~ text
      refute message =~ "us_east_1"
    end
  end
end
